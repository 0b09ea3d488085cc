//! Which files the process sees, by Landlock.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    make_bitflags,
};

/// The newest rules we know to work; older kernels enforce what they have.
const KNOWN: ABI = ABI::V7;

/// What libraries, FFmpeg, ONNX Runtime and the CUDA driver read of the system. Those that are missing are skipped.
const SYSTEM: [&str; 24] = [
    "/usr",
    "/lib",
    "/lib64",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/nvidia",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/devices",
    "/proc/modules",
    "/proc/sys/vm",
    "/proc/sys/kernel",
    "/proc/driver",
    "/sys/devices",
    "/sys/bus",
    "/sys/class",
    "/sys/module",
    "/sys/fs/cgroup",
    "/sys/kernel/mm",
];

/// Devices of every executor.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// Restricts this thread and all it will start. Returns the Landlock ABI in force, 0 where the kernel has none.
///
/// # Errors
/// Where the kernel has Landlock and refuses our rules, or a directory to write in cannot be opened.
pub fn restrict(allowed: &super::Allowed) -> Result<u32, String> {
    let status = rules(allowed)?.restrict_self().map_err(|e| format!("Landlock: {e}"))?;
    Ok(abi(&status))
}

fn abi(status: &RestrictionStatus) -> u32 {
    match (&status.ruleset, &status.landlock) {
        (RulesetStatus::NotEnforced, _) => 0,
        (_, LandlockStatus::Available { effective_abi, .. }) => (*effective_abi).min(KNOWN) as u32,
        _ => 0,
    }
}

fn rules(allowed: &super::Allowed) -> Result<RulesetCreated, String> {
    let text = |e: RulesetError| format!("Landlock: {e}");
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|rules| rules.scope(Scope::from_all(KNOWN)))
        .and_then(Ruleset::create)
        .map_err(text)?;
    for dir in &allowed.writable {
        let opened = PathFd::new(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        rules = rules.add_rule(PathBeneath::new(opened, writable())).map_err(text)?;
    }
    let own = std::env::current_exe().ok();
    let system = SYSTEM.iter().map(PathBuf::from).chain(own);
    for path in system.chain(library_path()).chain(allowed.readable.iter().cloned()) {
        rules = add(rules, &path, AccessFs::from_read(KNOWN)).map_err(text)?;
    }
    for path in DEVICES.iter().map(PathBuf::from).chain(device_nodes(allowed.device)) {
        rules =
            add(rules, &path, AccessFs::from_read(KNOWN) | AccessFs::WriteFile | AccessFs::IoctlDev).map_err(text)?;
    }
    Ok(rules)
}

/// Adds a rule for what exists and can be opened: what cannot be opened now could not be read later either.
fn add(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(opened, access))
}

/// Files and directories, and nothing else: no links that others might follow, no sockets, no programs.
fn writable() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer})
}

/// Where the loader was told to look for libraries.
fn library_path() -> Vec<PathBuf> {
    let dirs = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    std::env::split_paths(&dirs).filter(|dir| dir.is_absolute()).collect()
}

/// Nodes of NVIDIA devices (`/dev/dxg` under WSL).
pub(super) fn device_nodes(device: bool) -> Vec<PathBuf> {
    if !device {
        return Vec::new();
    }
    let nodes = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let ours = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name == "dxg" || name.to_string_lossy().starts_with("nvidia"))
    };
    nodes.filter(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// On a thread of its own: Landlock restricts a thread for good.
    fn within<T: Send + 'static>(allowed: super::super::Allowed, act: impl FnOnce(u32) -> T + Send + 'static) -> T {
        std::thread::spawn(move || act(restrict(&allowed).unwrap())).join().unwrap()
    }

    #[test]
    fn only_what_is_allowed_can_be_read_or_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["own", "models", "other"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), name).unwrap();
        }
        let allowed = super::super::Allowed {
            writable: vec![path("own")],
            readable: vec![path("models"), path("missing")],
            ..Default::default()
        };
        let (own, models, other) = (path("own"), path("models"), path("other"));
        within(allowed, move |abi| {
            if abi == 0 {
                // A kernel without Landlock: there is nothing to hold; `doctor` tells the user.
                return;
            }
            fs::write(own.join("new"), "x").unwrap();
            fs::create_dir(own.join("dir")).unwrap();
            fs::rename(own.join("new"), own.join("dir/new")).unwrap();
            assert_eq!(fs::read_to_string(models.join("file")).unwrap(), "models");
            fs::read("/proc/cpuinfo").unwrap();
            fs::write("/dev/null", "x").unwrap();
            let denied = |result: std::io::Result<()>| {
                assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
            };
            denied(fs::write(models.join("new"), "x"));
            denied(fs::read(other.join("file")).map(drop));
            denied(fs::write(other.join("new"), "x"));
            denied(fs::read("/etc/passwd").map(drop));
            denied(fs::read_dir("/").map(drop));
            denied(std::os::unix::fs::symlink("/etc", own.join("link")));
            if abi >= 2 {
                denied(fs::rename(own.join("dir/new"), other.join("moved")));
            }
            if abi >= 4 {
                denied(std::net::TcpListener::bind("127.0.0.1:0").map(drop));
            }
        });
    }
}
