//! Ways out of the sandbox, each tried in a worker of its own. `Ok` means that it worked: a hole.

use std::io::Error;

type Attempt = fn() -> Result<(), Error>;

/// Every attempt and its name.
pub(super) const ATTEMPTS: [(&str, Attempt); 48] = [
    ("open", || path_call(libc::SYS_openat, libc::AT_FDCWD as i64, c"/etc/passwd", 0)),
    ("openat2", || {
        call(
            libc::SYS_openat2,
            [libc::AT_FDCWD as i64, c"/etc/passwd".as_ptr() as i64, [0u64; 3].as_ptr() as i64, 24, 0, 0],
        )
    }),
    ("create", || {
        path_call(
            libc::SYS_openat,
            libc::AT_FDCWD as i64,
            c"/tmp/millrace-escape",
            (libc::O_CREAT | libc::O_WRONLY) as i64,
        )
    }),
    ("write its own memory", || {
        path_call(libc::SYS_openat, libc::AT_FDCWD as i64, c"/proc/self/mem", libc::O_RDWR as i64)
    }),
    ("stat", || {
        call(
            libc::SYS_newfstatat,
            [libc::AT_FDCWD as i64, c"/etc/passwd".as_ptr() as i64, [0u64; 32].as_ptr() as i64, 0, 0, 0],
        )
    }),
    ("readlink", || {
        call(
            libc::SYS_readlinkat,
            [libc::AT_FDCWD as i64, c"/proc/self/exe".as_ptr() as i64, [0u8; 64].as_ptr() as i64, 64, 0, 0],
        )
    }),
    ("unlink", || call(libc::SYS_unlinkat, [libc::AT_FDCWD as i64, c"/tmp/millrace-none".as_ptr() as i64, 0, 0, 0, 0])),
    ("mkdir", || {
        call(libc::SYS_mkdirat, [libc::AT_FDCWD as i64, c"/tmp/millrace-none".as_ptr() as i64, 0o700, 0, 0, 0])
    }),
    ("rename", || {
        call(
            libc::SYS_renameat2,
            [libc::AT_FDCWD as i64, c"/tmp/a".as_ptr() as i64, libc::AT_FDCWD as i64, c"/tmp/b".as_ptr() as i64, 0, 0],
        )
    }),
    ("chdir", || call(libc::SYS_chdir, [c"/tmp".as_ptr() as i64, 0, 0, 0, 0, 0])),
    ("chroot", || call(libc::SYS_chroot, [c"/tmp".as_ptr() as i64, 0, 0, 0, 0, 0])),
    ("socket inet", || call(libc::SYS_socket, [libc::AF_INET as i64, libc::SOCK_STREAM as i64, 0, 0, 0, 0])),
    ("socket inet6", || call(libc::SYS_socket, [libc::AF_INET6 as i64, libc::SOCK_STREAM as i64, 0, 0, 0, 0])),
    ("socket udp", || call(libc::SYS_socket, [libc::AF_INET as i64, libc::SOCK_DGRAM as i64, 0, 0, 0, 0])),
    ("socket unix", || call(libc::SYS_socket, [libc::AF_UNIX as i64, libc::SOCK_STREAM as i64, 0, 0, 0, 0])),
    ("socket netlink", || call(libc::SYS_socket, [libc::AF_NETLINK as i64, libc::SOCK_RAW as i64, 0, 0, 0, 0])),
    ("socketpair", || {
        call(libc::SYS_socketpair, [libc::AF_UNIX as i64, libc::SOCK_STREAM as i64, 0, [0i32; 2].as_ptr() as i64, 0, 0])
    }),
    ("connect", || call(libc::SYS_connect, [0, [0u8; 16].as_ptr() as i64, 16, 0, 0, 0])),
    ("bind", || call(libc::SYS_bind, [0, [0u8; 16].as_ptr() as i64, 16, 0, 0, 0])),
    ("accept", || call(libc::SYS_accept4, [0, 0, 0, 0, 0, 0])),
    ("sendmsg with descriptors", || call(libc::SYS_sendmsg, [0, [0u64; 7].as_ptr() as i64, 0, 0, 0, 0])),
    ("recvmsg", || call(libc::SYS_recvmsg, [0, [0u64; 7].as_ptr() as i64, libc::MSG_DONTWAIT as i64, 0, 0, 0])),
    ("execve", || call(libc::SYS_execve, [c"/bin/true".as_ptr() as i64, 0, 0, 0, 0, 0])),
    ("execveat", || call(libc::SYS_execveat, [libc::AT_FDCWD as i64, c"/bin/true".as_ptr() as i64, 0, 0, 0, 0])),
    ("clone", || call(libc::SYS_clone, [libc::SIGCHLD as i64, 0, 0, 0, 0, 0])),
    ("clone3", || call(libc::SYS_clone3, [[0u64; 11].as_ptr() as i64, 88, 0, 0, 0, 0])),
    ("unshare", || call(libc::SYS_unshare, [libc::CLONE_NEWUSER as i64, 0, 0, 0, 0, 0])),
    ("setns", || call(libc::SYS_setns, [0, 0, 0, 0, 0, 0])),
    ("ptrace another process", || call(libc::SYS_ptrace, [libc::PTRACE_ATTACH as i64, OTHER, 0, 0, 0, 0])),
    ("read another process's memory", || {
        call(libc::SYS_process_vm_readv, [OTHER, [0u64; 2].as_ptr() as i64, 1, [0u64; 2].as_ptr() as i64, 1, 0])
    }),
    ("kill another process", || call(libc::SYS_kill, [OTHER, 0, 0, 0, 0, 0])),
    ("tgkill init", || call(libc::SYS_tgkill, [1, 1, 0, 0, 0, 0])),
    ("pidfd_open", || call(libc::SYS_pidfd_open, [OTHER, 0, 0, 0, 0, 0])),
    ("mount", || {
        call(libc::SYS_mount, [c"none".as_ptr() as i64, c"/tmp".as_ptr() as i64, c"tmpfs".as_ptr() as i64, 0, 0, 0])
    }),
    ("io_uring", || call(libc::SYS_io_uring_setup, [8, [0u64; 16].as_ptr() as i64, 0, 0, 0, 0])),
    ("bpf", || call(libc::SYS_bpf, [0, [0u64; 16].as_ptr() as i64, 128, 0, 0, 0])),
    ("perf_event_open", || call(libc::SYS_perf_event_open, [[0u64; 16].as_ptr() as i64, 0, -1, -1, 0, 0])),
    ("userfaultfd", || call(libc::SYS_userfaultfd, [0, 0, 0, 0, 0, 0])),
    ("memfd_create", || call(libc::SYS_memfd_create, [c"x".as_ptr() as i64, 0, 0, 0, 0, 0])),
    ("keyctl", || call(libc::SYS_keyctl, [0, 0, 0, 0, 0, 0])),
    ("ioctl on stderr", || call(libc::SYS_ioctl, [2, libc::TIOCSTI as i64, c"x".as_ptr() as i64, 0, 0, 0])),
    ("prctl", || call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE as i64, 1, 0, 0, 0, 0])),
    ("raise its limits", || {
        call(libc::SYS_prlimit64, [0, libc::RLIMIT_CPU as i64, [u64::MAX; 2].as_ptr() as i64, 0, 0, 0])
    }),
    ("block the limit's signal handler", || {
        call(libc::SYS_rt_sigaction, [libc::SIGXCPU as i64, [1u64, 0, 0, 0].as_ptr() as i64, 0, 8, 0, 0])
    }),
    ("setuid", || call(libc::SYS_setuid, [0, 0, 0, 0, 0, 0])),
    ("executable mapping", || {
        call(
            libc::SYS_mmap,
            [
                0,
                4096,
                (libc::PROT_READ | libc::PROT_EXEC) as i64,
                (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as i64,
                -1,
                0,
            ],
        )
    }),
    ("executable stack", executable_stack),
    ("pkey_mprotect", || call(libc::SYS_pkey_mprotect, [0, 4096, libc::PROT_EXEC as i64, -1, 0, 0])),
];

/// Stands for any other process: asking for another process's number is forbidden by now.
const OTHER: i64 = 1;

fn executable_stack() -> Result<(), Error> {
    let here = [0u8; 64];
    let page = here.as_ptr() as i64 & !4095;
    call(libc::SYS_mprotect, [page, 4096, (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC) as i64, 0, 0, 0])
}

fn path_call(number: i64, at: i64, path: &std::ffi::CStr, flags: i64) -> Result<(), Error> {
    call(number, [at, path.as_ptr() as i64, flags, 0o600, 0, 0])
}

fn call(number: i64, a: [i64; 6]) -> Result<(), Error> {
    // SAFETY: none promised; the arguments are valid or null, and the process ends next.
    let answer = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if answer < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}
