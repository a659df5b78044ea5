//! Locks the process in, step by step and for good.
//!
//! Landlock covers the calling thread and those it starts later, so it comes before the threads. The filter covers all
//! threads at once, so it comes after them, when each is past its start. What isn't listed kills the process.
//! Absent: ioctl, open, socket, exec, clone, and every call that takes a path, a port or a process.
#![expect(unsafe_code, reason = "descriptors, the allocator and the user are set by C calls")]

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use crate::media::limits::{ADDRESS_SPACE_EXTRA_BYTES, NOFILE, WorkerLimits};

/// `nobody`: owns no file and no other process that matters.
const NOBODY: libc::uid_t = 65_534;

/// Rust's own exit status after a panic.
const PANICKED: i32 = 101;

/// What could be locked.
pub(super) struct Report {
    pub(super) landlock: &'static str,
    pub(super) uid: u32,
}

/// A panic in any thread ends the process: a rung that stopped must not look like a rung that ended.
pub(super) fn end_at_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        // SAFETY: ends the process without running anything else.
        unsafe { libc::_exit(PANICKED) }
    }));
}

/// Closes everything but the socket and stderr.
pub(super) fn descriptors() {
    // SAFETY: nothing in this process owns a descriptor yet but the standard three.
    unsafe {
        libc::close(1);
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, 0u32);
    }
}

/// One arena: each further one reserves 64 MiB and needs calls that the filter forbids.
pub(super) fn allocator() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets a tuning value before any thread exists.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// The C library looks for its time zone the first time that it takes a time apart, which libav does with the date that a
/// file names. Looked for now, it isn't later, when no file can be opened.
pub(super) fn calendar() {
    let epoch: libc::time_t = 0;
    let mut parts = std::mem::MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to locals of the right types; there is one thread.
    unsafe {
        libc::localtime_r(&epoch, parts.as_mut_ptr());
    }
}

/// Limits, user and Landlock.
pub(super) fn before_threads(bounds: &WorkerLimits) -> std::io::Result<Report> {
    limits(bounds)?;
    let uid = become_nobody()?;
    rustix::thread::set_no_new_privs(true)?;
    let status = landlock().map_err(std::io::Error::other)?;
    let landlock = match status.ruleset {
        RulesetStatus::FullyEnforced => "enforced",
        RulesetStatus::PartiallyEnforced => "partly",
        RulesetStatus::NotEnforced => "absent",
    };
    Ok(Report { landlock, uid })
}

fn limits(bounds: &WorkerLimits) -> std::io::Result<()> {
    let both = |most| Rlimit { current: Some(most), maximum: Some(most) };
    setrlimit(Resource::Core, both(0))?;
    setrlimit(Resource::Fsize, both(0))?;
    setrlimit(Resource::Nofile, both(NOFILE))?;
    setrlimit(Resource::Data, both(bounds.data_bytes))?;
    setrlimit(Resource::As, both(address_space()? + bounds.data_bytes + ADDRESS_SPACE_EXTRA_BYTES))?;
    setrlimit(Resource::Cpu, both(bounds.cpu_s(bounds.seconds_max)))?;
    Ok(())
}

/// Bytes mapped now, nearly all of them libraries.
fn address_space() -> std::io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    Ok(pages * rustix::param::page_size() as u64)
}

/// Drops root. A container may refuse; then the filter alone has to do, and the report says so.
fn become_nobody() -> std::io::Result<u32> {
    // SAFETY: plain calls without pointers that outlive them; there is one thread.
    unsafe {
        if libc::geteuid() == 0 {
            let dropped = libc::setgroups(0, std::ptr::null()) == 0
                && libc::setresgid(NOBODY, NOBODY, NOBODY) == 0
                && libc::setresuid(NOBODY, NOBODY, NOBODY) == 0;
            if dropped && libc::setuid(0) == 0 {
                return Err(std::io::Error::other("root came back"));
            }
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        Ok(libc::geteuid())
    }
}

/// No path, no port, no signal or socket of another process.
fn landlock() -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .restrict_self()
}

/// Installs the filter on every thread.
pub(super) fn filter_calls() -> Result<(), Box<dyn std::error::Error>> {
    let program = filter()?;
    seccompiler::apply_filter_all_threads(&program)?;
    Ok(())
}

fn filter() -> Result<BpfProgram, Box<dyn std::error::Error>> {
    let free = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_brk,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_sched_yield,
        libc::SYS_getrandom,
    ];
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = free.into_iter().map(|call| (call, vec![])).collect();
    let not_executable = || when(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0);
    rules.insert(libc::SYS_mmap, vec![not_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable()?]);
    // A signal to itself, and handlers for those that end it: what abort and a stack overflow need.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, own)?]);
    let fatal = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS];
    let fatal = fatal.map(|signal| when(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, signal as u64));
    rules.insert(libc::SYS_rt_sigaction, fatal.into_iter().collect::<Result<_, _>>()?);
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?;
    Ok(filter.try_into()?)
}

fn when(
    argument: u8,
    width: SeccompCmpArgLen,
    op: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, width, op, value)?])
}
