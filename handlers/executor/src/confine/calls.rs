//! Which system calls the process has, by seccomp: all but those that reach other machines, other processes or the
//! kernel's rarely walked corners.
//!
//! A list of what is denied, not of what is allowed: codecs, ONNX Runtime and the CUDA driver use more calls, and other
//! ones with each version, than a list could follow. Landlock says what may be opened; this closes what it does not see.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Denied whatever their arguments.
const DENIED: &[i64] = &[
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tkill,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // leaving the group that the consumer kills
    libc::SYS_setsid,
    libc::SYS_setpgid,
    // what Landlock lets pass: a path that may not be written may still be made unreadable, or (before ABI 3) empty
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchmod,
    libc::SYS_fchownat,
    libc::SYS_fchown,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_truncate,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    // mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    // the kernel itself
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_personality,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Flags of `clone` that make namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Restricts this thread and all it will start. With `device`, local sockets stay: the CUDA driver uses them.
/// Returns whether the filter is in force.
///
/// # Errors
/// Where the kernel has seccomp and refuses the filter.
pub fn restrict(device: bool) -> Result<bool, String> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
    let (denied, absent) = programs(device, arch).map_err(|e| format!("seccomp: {e}"))?;
    for program in [denied, absent] {
        match apply_filter(&program) {
            Ok(()) => {}
            // Built without CONFIG_SECCOMP_FILTER.
            Err(seccompiler::Error::Seccomp(e)) if e.raw_os_error() == Some(libc::ENOSYS) => return Ok(false),
            Err(error) => return Err(format!("seccomp: {error}")),
        }
    }
    Ok(true)
}

fn programs(device: bool, arch: TargetArch) -> Result<(BpfProgram, BpfProgram), BackendError> {
    let when = |arg, op, value| SeccompCondition::new(arg, SeccompCmpArgLen::Dword, op, value);
    let only = |arg, op, value| SeccompRule::new(vec![when(arg, op, value)?]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, vec![])).collect();
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    let sockets = if device { vec![only(0, SeccompCmpOp::Ne, local)?] } else { vec![] };
    rules.insert(libc::SYS_socket, sockets);
    if !device {
        // One end of a pair of datagram sockets can be turned to any socket in the file system.
        let datagram = u64::from(libc::SOCK_DGRAM.unsigned_abs());
        rules.insert(libc::SYS_socketpair, vec![only(1, SeccompCmpOp::MaskedEq(0xf), datagram)?]);
    }
    // Signals and limits reach this process alone. Landlock holds signals back too, but only from ABI 6 on.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_kill, vec![only(0, SeccompCmpOp::Ne, own)?]);
    rules.insert(libc::SYS_tgkill, vec![only(0, SeccompCmpOp::Ne, own)?]);
    let others = vec![when(0, SeccompCmpOp::Ne, 0)?, when(0, SeccompCmpOp::Ne, own)?];
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(others)?]);
    // Opened for reading and yet emptied, which Landlock sees from ABI 3 on.
    let emptied = u64::from(libc::O_TRUNC.unsigned_abs());
    let flags = emptied | u64::from(libc::O_ACCMODE.unsigned_abs());
    rules.insert(libc::SYS_openat, vec![only(2, SeccompCmpOp::MaskedEq(flags), emptied)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![only(1, SeccompCmpOp::MaskedEq(flags), emptied)?]);
    let namespaces = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        only(0, SeccompCmpOp::MaskedEq(flag), flag)
    });
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let errno = |errno: libc::c_int| SeccompAction::Errno(errno.unsigned_abs());
    let denied = SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::EPERM), arch)?;
    // The flags of these lie in memory, where a filter cannot look. Absent, their callers fall back to the older calls.
    let unseen = BTreeMap::from([(libc::SYS_clone3, vec![]), (libc::SYS_openat2, vec![])]);
    let absent = SeccompFilter::new(unseen, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    Ok((denied.try_into()?, absent.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind::PermissionDenied;

    /// On a thread of its own: a filter restricts a thread for good.
    fn within<T: Send + 'static>(device: bool, act: impl FnOnce() -> T + Send + 'static) -> T {
        let inside = move || {
            assert!(restrict(device).unwrap());
            act()
        };
        std::thread::spawn(inside).join().unwrap()
    }

    #[test]
    fn no_socket_reaches_out() {
        for device in [false, true] {
            within(device, move || {
                let kind = |result: std::io::Result<()>| result.unwrap_err().kind();
                assert_eq!(kind(std::net::TcpStream::connect("127.0.0.1:9").map(drop)), PermissionDenied);
                assert_eq!(kind(std::net::UdpSocket::bind("127.0.0.1:0").map(drop)), PermissionDenied);
                let local = std::os::unix::net::UnixDatagram::unbound();
                assert_eq!(local.is_ok(), device);
                std::os::unix::net::UnixStream::pair().unwrap();
            });
        }
    }

    #[test]
    fn other_processes_and_files_that_are_only_read_stay_as_they_are() {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model");
        std::fs::write(&path, "weights").unwrap();
        let parent = i32::try_from(std::os::unix::process::parent_id()).unwrap();
        within(false, move || {
            let errno = |result: i32| (result == -1).then(|| std::io::Error::last_os_error().raw_os_error().unwrap());
            let (own, none) = (std::process::id().cast_signed(), std::ptr::null());
            // SAFETY: signal 0 is none; the limits are only read, into a local, or not at all.
            unsafe {
                assert_eq!(errno(libc::kill(parent, 0)), Some(libc::EPERM));
                assert_eq!(errno(libc::kill(-1, 0)), Some(libc::EPERM));
                assert_eq!(errno(libc::kill(own, 0)), None);
                let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                assert_eq!(errno(libc::prlimit(parent, libc::RLIMIT_NOFILE, none, &mut limit)), Some(libc::EPERM));
                assert_eq!(errno(libc::prlimit(own, libc::RLIMIT_NOFILE, none, &mut limit)), None);
                assert_eq!(errno(libc::prlimit(0, libc::RLIMIT_NOFILE, none, &mut limit)), None);
            }
            let denied = |result: std::io::Result<()>| assert_eq!(result.unwrap_err().kind(), PermissionDenied);
            denied(std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)));
            denied(std::os::unix::fs::lchown(&path, Some(1), None));
            denied(std::fs::OpenOptions::new().read(true).custom_flags(libc::O_TRUNC).open(&path).map(drop));
            denied(std::os::unix::net::UnixDatagram::pair().map(drop));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "weights");
            std::fs::write(&path, "still written where Landlock lets it").unwrap();
        });
        assert!(dir.path().join("model").metadata().unwrap().len() > 7);
    }

    #[test]
    fn namespaces_and_io_uring_are_closed_and_threads_and_children_still_start() {
        within(false, || {
            // SAFETY: the calls take no pointers that matter; all are expected to fail before doing anything.
            let denied = |call: i64, arg: libc::c_long| unsafe {
                (libc::syscall(call, arg, 0, 0, 0, 0), std::io::Error::last_os_error().raw_os_error())
            };
            assert_eq!(denied(libc::SYS_unshare, libc::CLONE_NEWUSER.into()), (-1, Some(libc::EPERM)));
            assert_eq!(denied(libc::SYS_clone, libc::CLONE_NEWUSER.into()), (-1, Some(libc::EPERM)));
            assert_eq!(denied(libc::SYS_clone3, 0), (-1, Some(libc::ENOSYS)));
            assert_eq!(denied(libc::SYS_io_uring_setup, 1), (-1, Some(libc::EPERM)));
            assert_eq!(denied(libc::SYS_setsid, 0), (-1, Some(libc::EPERM)));
            assert_eq!(std::thread::spawn(|| 7).join().unwrap(), 7);
            assert!(std::process::Command::new("true").status().unwrap().success());
        });
    }
}
