//! The root directory of a container: the machine's, with the pod's own files in place.
//!
//! It is a small tmpfs into which each entry of the machine's root is bind-mounted read-only, so
//! that no container, not even one that runs as root, changes the machine, and any mount point can
//! be made. `/run` and `/tmp` start empty.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::pivot_root,
};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A file or directory of the machine that appears in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Path on the machine.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether the container may write to it.
    pub read_only: bool,
}

/// Where the machine's root is while the container's is assembled.
const OLD_ROOT: &str = "/.machine";
/// Holds directories that had to be taken apart to make room for a mount point.
const OPENED: &str = "/.opened";
/// Entries of the machine's root that start empty instead.
const FRESH: [(&str, u32); 2] = [("run", 0o755), ("tmp", 0o1777)];

const NO_TYPE: Option<&str> = None;

/// Makes the container's root on `scratch` and moves this process into it. The process must have a
/// mount namespace of its own.
///
/// # Errors
/// If the kernel refuses a mount or a source is missing.
pub fn assemble(scratch: &Path, mounts: &[Mount]) -> Result<()> {
    // Nothing mounted from here on is seen by the machine.
    mount(
        NO_TYPE,
        "/",
        NO_TYPE,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        NO_TYPE,
    )
    .map_err(Error::system("make mounts private"))?;
    mount(
        Some("tmpfs"),
        scratch,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755,size=64m"),
    )
    .map_err(Error::system(format!("mount {}", scratch.display())))?;
    let old = scratch.join(&OLD_ROOT[1..]);
    create_dir(&old)?;
    pivot_root(scratch, &old).map_err(Error::system("change the root"))?;
    std::env::set_current_dir("/").map_err(Error::file("enter", "/"))?;
    mirror(Path::new(OLD_ROOT), Path::new("/"), &|name| {
        FRESH.iter().any(|(fresh, _)| name == *fresh)
    })?;
    protect()?;
    for (name, mode) in FRESH {
        let dir = Path::new("/").join(name);
        create_dir(&dir)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode))
            .map_err(Error::file("set permissions of", &dir))?;
    }
    for mount in mounts {
        place(mount)?;
    }
    umount2(OLD_ROOT, MntFlags::MNT_DETACH)
        .map_err(Error::system("let go of the machine's root"))?;
    fs::remove_dir(OLD_ROOT).map_err(Error::file("remove", OLD_ROOT))
}

/// Makes every mount of the machine's files read-only, in this mount namespace only.
fn protect() -> Result<()> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = fs::read_to_string(TABLE).map_err(Error::file("read", TABLE))?;
    for (target, flags) in table.lines().filter_map(to_protect) {
        let flags = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        match mount(NO_TYPE, &target, NO_TYPE, flags, NO_TYPE) {
            // Hidden by a later mount, or of another namespace: out of reach for the container too.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => {
                return Err(Error::system(format!(
                    "make {} read-only",
                    target.display()
                ))(error));
            }
        }
    }
    Ok(())
}

/// Mount point and flags of a line of `mountinfo` that holds files of the machine.
fn to_protect(line: &str) -> Option<(PathBuf, MsFlags)> {
    const KEPT: [&str; 4] = ["/proc", "/sys", "/dev", OLD_ROOT];
    let mut fields = line.split(' ').skip(4);
    let (target, options) = (PathBuf::from(unescape(fields.next()?)), fields.next()?);
    if target == Path::new("/") || KEPT.iter().any(|kept| target.starts_with(kept)) {
        return None;
    }
    let flag = |option: &str| match option {
        "nosuid" => MsFlags::MS_NOSUID,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        _ => MsFlags::empty(),
    };
    Some((target, options.split(',').map(flag).collect()))
}

/// Reads `\040` as a space, and so on: how the kernel writes white space in paths.
fn unescape(text: &str) -> String {
    let mut result = text.to_owned();
    for (escape, character) in [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ] {
        result = result.replace(escape, character);
    }
    result
}

/// Makes each entry of `from` appear in `to`, but for those to `skip`.
fn mirror(from: &Path, to: &Path, skip: &dyn Fn(&std::ffi::OsStr) -> bool) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::file("read", from))? {
        let entry = entry.map_err(Error::file("read", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if skip(&entry.file_name()) {
            continue;
        }
        let kind = entry.file_type().map_err(Error::file("read", &source))?;
        if kind.is_symlink() {
            let link = fs::read_link(&source).map_err(Error::file("read", &source))?;
            symlink(link, &target).map_err(Error::file("create", &target))?;
        } else {
            bind(&source, &target, kind.is_dir())?;
        }
    }
    Ok(())
}

/// Binds `source` to `target`, which is made first.
fn bind(source: &Path, target: &Path, is_dir: bool) -> Result<()> {
    if is_dir {
        create_dir(target)?;
    } else if !target.exists() {
        fs::File::create(target).map_err(Error::file("create", target))?;
    }
    mount(
        Some(source),
        target,
        NO_TYPE,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        NO_TYPE,
    )
    .map_err(Error::system(format!("mount {}", target.display())))
}

/// Puts one mount in place, making its mount point without touching the machine.
fn place(wanted: &Mount) -> Result<()> {
    let source =
        Path::new(OLD_ROOT).join(wanted.source.strip_prefix("/").unwrap_or(&wanted.source));
    let is_dir = fs::metadata(&source)
        .map_err(Error::file("read", &wanted.source))?
        .is_dir();
    let target = wanted.target.as_path();
    if !target.exists() {
        let parent = if is_dir {
            target
        } else {
            target.parent().unwrap_or(target)
        };
        make_room(parent)?;
    }
    bind(&source, target, is_dir)?;
    if wanted.read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(NO_TYPE, target, NO_TYPE, flags, NO_TYPE).map_err(Error::system(format!(
            "make {} read-only",
            target.display()
        )))?;
    }
    Ok(())
}

/// Makes the directory `dir` on the container's own tmpfs. Where its nearest existing ancestor is
/// the machine's, that one is replaced by a directory with the same entries.
fn make_room(dir: &Path) -> Result<()> {
    let ancestor = dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let ancestor = ancestor
        .canonicalize()
        .map_err(Error::file("read", ancestor))?;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
    let own = device(Path::new("/")).map_err(Error::file("read", "/"))?;
    if device(&ancestor).map_err(Error::file("read", &ancestor))? != own {
        open_up(&ancestor)?;
    }
    fs::create_dir_all(dir).map_err(Error::file("create", dir))
}

fn open_up(dir: &Path) -> Result<()> {
    let name = dir.to_string_lossy().replace('/', "_");
    let copy = Path::new(OPENED).join(name);
    fs::create_dir_all(&copy).map_err(Error::file("create", &copy))?;
    mirror(dir, &copy, &|_| false)?;
    bind(&copy, dir, true)
}

fn create_dir(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::file("create", dir)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_machine_are_protected_and_kernel_interfaces_are_not() {
        let line = |target: &str| {
            format!("36 35 98:0 / {target} rw,nosuid,relatime shared:1 - ext4 /dev/a rw")
        };
        let found = to_protect(&line("/srv/my\\040files")).expect("protected");
        assert_eq!(found, (PathBuf::from("/srv/my files"), MsFlags::MS_NOSUID));
        for kept in ["/", "/proc", "/sys/fs/cgroup", "/dev/shm", "/.machine/usr"] {
            assert_eq!(to_protect(&line(kept)), None, "{kept}");
        }
        assert_eq!(to_protect(""), None);
    }
}
