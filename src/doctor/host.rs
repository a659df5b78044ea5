//! What the machine must offer: space, time, codecs, a sandbox.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use ffmpeg_next::codec::{Id, encoder};
use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};

use super::Finding;
use crate::config::{Loaded, Size};

/// Room for one file of the largest size and its ladder would be better; below this even small ones end in 507.
const FREE_BYTES_MIN: u64 = 1 << 30;
/// This release didn't exist before: a clock that says so is wrong, and every signed URL with it.
const RELEASED: Duration = Duration::from_secs(1_790_000_000);
/// Clocks that are set by hand or by radio differ by less.
const CLOCK_SLACK: Duration = Duration::from_secs(120);

pub fn free_space(loaded: &Loaded) -> Finding {
    const SUBJECT: &str = "free space";
    let data = &loaded.config.data;
    let there = data.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(there) {
        Err(e) => Finding::ill(SUBJECT, format!("{} can't be asked ({e})", there.display()), "choose another --data"),
        Ok(fs) => {
            let free = Size((fs.f_bavail.saturating_mul(fs.f_frsize)) >> 20 << 20);
            let found = format!("{free} at {}", there.display());
            if free.0 >= FREE_BYTES_MIN {
                return Finding::well(SUBJECT, found);
            }
            Finding::ill(SUBJECT, found, format!("free at least {}, or choose another --data", Size(FREE_BYTES_MIN)))
        }
    }
}

pub fn clock(loaded: &Loaded) -> Finding {
    const SUBJECT: &str = "clock";
    let cure = "set the clock (timedatectl set-ntp true)";
    let now = SystemTime::now();
    if now < SystemTime::UNIX_EPOCH + RELEASED {
        return Finding::ill(SUBJECT, "it is before this release was made", cure);
    }
    // The folder's own files were written in the past, unless the clock has gone back since.
    let written = std::fs::metadata(loaded.config.data.join("lock")).and_then(|meta| meta.modified());
    match written {
        Ok(written) if written > now + CLOCK_SLACK => {
            Finding::ill(SUBJECT, "it went back: the data folder's lock was written in the future", cure)
        }
        _ => Finding::well(SUBJECT, "plausible"),
    }
}

pub fn media() -> Finding {
    const SUBJECT: &str = "media libraries";
    let version = ffmpeg_next::codec::version();
    let found = format!("libavcodec {}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff);
    let missing: Vec<_> = [(Id::AAC, "AAC"), (Id::FLAC, "FLAC")]
        .into_iter()
        .filter(|(id, _)| encoder::find(*id).is_none())
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() {
        return Finding::well(SUBJECT, format!("{found}, with encoders for AAC and FLAC"));
    }
    let found = format!("{found} has no encoder for {}", missing.join(" and "));
    Finding::ill(SUBJECT, found, "install the distribution's full libavcodec (Debian: apt install libavcodec59)")
}

pub fn sandbox() -> Finding {
    const SUBJECT: &str = "sandbox";
    let seccomp = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let cure = "use a kernel with CONFIG_SECURITY_LANDLOCK (5.13 or later), landlock in lsm=, and seccomp filters";
    if !seccomp.split_whitespace().any(|action| action == "kill_process") {
        return Finding::ill(SUBJECT, "the kernel has no seccomp filters that kill a process", cure);
    }
    match landlock_level() {
        None => Finding::ill(SUBJECT, "the kernel has no Landlock", cure),
        Some(level) => Finding::well(SUBJECT, format!("seccomp, and Landlock ABI {level} or later")),
    }
}

/// The newest set of rights that the kernel takes. A rule set that nobody enters restricts nothing.
fn landlock_level() -> Option<u8> {
    let levels = [(6, ABI::V6), (5, ABI::V5), (4, ABI::V4), (3, ABI::V3), (2, ABI::V2), (1, ABI::V1)];
    let takes = |abi: ABI| {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        rules.handle_access(AccessFs::from_all(abi)).and_then(Ruleset::create).is_ok()
    };
    levels.into_iter().find(|(_, abi)| takes(*abi)).map(|(level, _)| level)
}
