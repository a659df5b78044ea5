//! CPU time, memory and disk writes of other processes, as the kernel counts them.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::Context;

/// A line of `/proc/PID/stat`, as far as it is wanted.
struct Stat {
    parent: u32,
    /// User and system, its own and of children that it has waited for.
    ticks: u64,
    /// The same of those children alone.
    reaped: u64,
}

/// User and system time of a process and of everything below it, the ended included.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    Ok(seconds(tree(pid)?.values().map(|stat| stat.ticks).sum()))
}

/// Bytes that a process, and those below it, have had written to a disk: by what they dirtied, not by when it was flushed.
/// What ended isn't in it, and what isn't ours to look at neither.
pub fn disk_bytes(pid: u32) -> anyhow::Result<HashMap<u32, u64>> {
    let mut all = HashMap::new();
    for pid in tree(pid)?.into_keys() {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/io")) else { continue };
        let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("no write_bytes")?;
        all.insert(pid, line.parse()?);
    }
    Ok(all)
}

/// A process and everything below it.
fn tree(pid: u32) -> anyhow::Result<HashMap<u32, Stat>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // Whoever ended between the two looks has been counted by its parent.
        if let Ok(stat) = stat(&pid.to_string()) {
            all.insert(pid, stat);
        }
    }
    let is_below = |mut at: u32| {
        while at != pid {
            match all.get(&at) {
                Some(stat) if stat.parent != 0 => at = stat.parent,
                _ => return false,
            }
        }
        true
    };
    let below: Vec<_> = all.keys().copied().filter(|at| is_below(*at)).collect();
    Ok(below.into_iter().filter_map(|at| Some((at, all.remove(&at)?))).collect())
}

/// User and system time of all children that this process has waited for.
pub fn waited_for() -> anyhow::Result<Duration> {
    Ok(seconds(stat("self")?.reaped))
}

/// Forgets the peak of a process's memory.
pub fn forget_peak(pid: u32) -> anyhow::Result<()> {
    // proc(5): 5 resets the peak.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").context("can't reset the peak")
}

/// The most resident memory of a process since then, in MiB. Its children aren't in it.
pub fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn stat(pid: &str) -> anyhow::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name before it may hold anything, also spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(") ").context("no name")?.1.split(' ').collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).context("no number");
    // proc(5) counts from 1, and field 3 is our 0.
    let (utime, stime, cutime, cstime) = (field(11)?, field(12)?, field(13)?, field(14)?);
    let parent = u32::try_from(field(1)?)?;
    Ok(Stat { parent, ticks: utime + stime + cutime + cstime, reaped: cutime + cstime })
}

fn seconds(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
