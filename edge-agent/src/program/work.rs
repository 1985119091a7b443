//! A step's own directory, beneath the spool: made before its program starts, read from while it runs, gone when it has ended.
//! While it is there, something of the step may be running.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use rigwire_shared::ids::AttemptId;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::User;

/// The directory of all of them in the spool's.
pub(crate) fn all(spool: &Path) -> PathBuf {
    spool.join("programs")
}

#[derive(Debug, Clone)]
pub(crate) struct Work {
    record: PathBuf,
    path: PathBuf,
}

impl Work {
    /// What stands for an attempt on the disk: its name is the attempt's, `files` in it is the program's to write in.
    pub(crate) fn create(all: &Path, attempt: AttemptId, user: Option<&User>) -> io::Result<Self> {
        // Others may pass through to what is theirs, and see nothing else.
        DirBuilder::new().recursive(true).mode(0o711).create(all)?;
        // A program gets an absolute path: it may start elsewhere.
        let all = fs::canonicalize(all)?;
        let record = all.join(attempt.to_string());
        DirBuilder::new().mode(0o711).create(&record)?;
        let path = record.join("files");
        DirBuilder::new().mode(0o700).create(&path)?;
        if let Some(user) = user {
            std::os::unix::fs::chown(&path, Some(user.uid), Some(user.gid))?;
        }
        Ok(Self { record, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn remove(self) -> io::Result<()> {
        remove(&self.record)
    }

    /// Reads a regular file that lies in the directory, whatever links the program has made.
    pub(crate) fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let wrong = |problem: &str| format!("{name} {problem}");
        let path = Path::new(name);
        let path = path.strip_prefix(&self.path).unwrap_or(path);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inside || path.as_os_str().is_empty() {
            return Err(wrong("is not a file in the step's own directory"));
        }
        let directory = File::open(&self.path).map_err(|error| wrong(&error.to_string()))?;
        // Without waiting: a pipe of that name would have no writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = match rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::XDEV) => return Err(wrong("leads out of the step's own directory")),
            Err(error) => return Err(wrong(&format!("cannot be read: {}", io::Error::from(error)))),
        };
        let about = file.metadata().map_err(|error| wrong(&error.to_string()))?;
        if !about.is_file() {
            return Err(wrong("is not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        if bytes.len() as u64 > most {
            return Err(format!("{name} has more than {most} bytes"));
        }
        Ok(bytes)
    }
}

/// Removes a directory of an attempt with all that is in it. Blocks: for large trees not for the runtime.
pub(crate) fn remove(record: &Path) -> io::Result<()> {
    match fs::remove_dir_all(record) {
        // Not as root: whom modes do not stop they would not help, and what runs as somebody else may put a link there.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !rustix::process::geteuid().is_root() => {
            open_up(record)?;
            fs::remove_dir_all(record)
        }
        removed => removed,
    }
}

/// Directories that a program has closed to their owner can be emptied again. Links are not followed.
fn open_up(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    let mut closed = vec![directory.to_path_buf()];
    while let Some(directory) = closed.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::set_permissions(entry.path(), fs::Permissions::from_mode(0o700))?;
                closed.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A media type by the name of a file, for those that are usual here.
pub(crate) fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    match extension.to_ascii_lowercase().as_str() {
        "csv" => "text/csv",
        "txt" | "log" | "out" => "text/plain",
        "json" => "application/json",
        "xml" => "application/xml",
        "html" | "htm" => "text/html",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_what_lies_in_the_directory_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let work = Work::create(&all(directory.path()), AttemptId(Uuid::nil()), None).unwrap();
        fs::write(directory.path().join("secret"), "key").unwrap();
        fs::write(work.path().join("a.csv"), "1,2\n").unwrap();
        fs::create_dir(work.path().join("sub")).unwrap();
        symlink("../a.csv", work.path().join("sub/inner")).unwrap();
        symlink(directory.path().join("secret"), work.path().join("absolute")).unwrap();
        symlink("../../../secret", work.path().join("up")).unwrap();
        symlink("../..", work.path().join("sub/out")).unwrap();
        let own = work.path().join("a.csv").display().to_string();
        for (name, expected) in [
            ("a.csv", Ok("1,2\n")),
            ("./a.csv", Ok("1,2\n")),
            ("sub/inner", Ok("1,2\n")),
            (own.as_str(), Ok("1,2\n")),
            ("", Err(" is not a file in the step's own directory")),
            ("../../secret", Err("../../secret is not a file in the step's own directory")),
            ("/etc/hostname", Err("/etc/hostname is not a file in the step's own directory")),
            ("absolute", Err("absolute leads out of the step's own directory")),
            ("up", Err("up leads out of the step's own directory")),
            ("sub/out/../secret", Err("sub/out/../secret is not a file in the step's own directory")),
            ("sub", Err("sub is not a regular file")),
            ("b.csv", Err("b.csv cannot be read: No such file or directory (os error 2)")),
        ] {
            let found = work.read(name, 4).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
        assert_eq!(work.read("a.csv", 3), Err("a.csv has more than 3 bytes".to_owned()));
        assert!(Work::create(&all(directory.path()), AttemptId(Uuid::nil()), None).is_err(), "an attempt is made once");
        work.remove().unwrap();
        assert_eq!(fs::read_dir(all(directory.path())).unwrap().count(), 0);
    }
}
