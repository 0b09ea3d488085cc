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
    // leaving the group that the consumer kills
    libc::SYS_setsid,
    libc::SYS_setpgid,
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
    let only = |arg, op, value| SeccompRule::new(vec![SeccompCondition::new(arg, SeccompCmpArgLen::Dword, op, value)?]);
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, vec![])).collect();
    let local = u64::from(libc::AF_UNIX.unsigned_abs());
    let sockets = if device { vec![only(0, SeccompCmpOp::Ne, local)?] } else { vec![] };
    rules.insert(libc::SYS_socket, sockets);
    let namespaces = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.unsigned_abs());
        only(0, SeccompCmpOp::MaskedEq(flag), flag)
    });
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let errno = |errno: libc::c_int| SeccompAction::Errno(errno.unsigned_abs());
    let denied = SeccompFilter::new(rules, SeccompAction::Allow, errno(libc::EPERM), arch)?;
    // The flags of `clone3` lie in memory, where a filter cannot look. Absent, the C library falls back to `clone`.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, vec![])]);
    let absent = SeccompFilter::new(clone3, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
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
