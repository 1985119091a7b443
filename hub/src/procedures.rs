//! Procedures by name: files in the data directory, read when asked for, so that an edited file counts at once.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use schemars::JsonSchema;
use serde::Serialize;

use crate::procedure::{Invalid, Procedure};

pub mod watch;

/// Longest text of a procedure, in bytes; the same as of one that is put.
const TEXT_MAX: u64 = 1024 * 1024;

pub struct Procedures {
    directory: PathBuf,
    /// Held while files change: two who keep the same name at once share a draft.
    changing: Mutex<()>,
}

/// A procedure as lists show it. A broken file is shown with what is wrong, not left out.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Listed {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<crate::event::RunKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Why a procedure could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ProcedureError {
    #[error("there is no procedure {name}; procedures: {known}")]
    Unknown { name: String, known: String },
    #[error("{name:?} is not a procedure name, expected 1 to 64 of a-z A-Z 0-9 _ - .")]
    Name { name: String },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// How a procedure was written, and is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Toml,
    Json,
}

impl Format {
    const fn extension(self) -> &'static str {
        match self {
            Self::Toml => "toml",
            Self::Json => "json",
        }
    }
}

impl Procedures {
    pub fn open(directory: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self { directory, changing: Mutex::new(()) })
    }

    /// Names of files that hold procedures, or should.
    fn files(&self) -> anyhow::Result<Vec<String>> {
        let entries =
            std::fs::read_dir(&self.directory).with_context(|| format!("reading {}", self.directory.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("reading {}", self.directory.display()))?.path();
            let known = path.extension().is_some_and(|extension| extension == "toml" || extension == "json");
            if let (true, Some(file)) = (known, path.file_name().and_then(|file| file.to_str()))
                && !file.starts_with('.')
            {
                files.push(file.to_owned());
            }
        }
        files.sort();
        Ok(files)
    }

    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        let files = self.files()?;
        let mut names: Vec<String> =
            files.iter().filter_map(|file| file.rsplit_once('.')).map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub fn list(&self) -> anyhow::Result<Vec<Listed>> {
        Ok(self
            .names()?
            .into_iter()
            .map(|name| match self.get_whole(&name) {
                Ok(procedure) => {
                    Listed { name, description: procedure.description, kind: Some(procedure.kind), error: None }
                }
                Err(error) => Listed { name, description: None, kind: None, error: Some(error.to_string()) },
            })
            .collect())
    }

    pub fn get(&self, name: &str) -> Result<Procedure, ProcedureError> {
        let (text, format) = self.text(name)?;
        Ok(parse(&text, &format!("{name}.{}", format.extension()), format)?)
    }

    fn text(&self, name: &str) -> Result<(String, Format), ProcedureError> {
        check_name(name)?;
        for format in [Format::Toml, Format::Json] {
            if let Some(text) = self.read(name, format)? {
                return Ok((text, format));
            }
        }
        let known = self.names()?.join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        Err(ProcedureError::Unknown { name: name.to_owned(), known })
    }

    /// The same with every procedure that it names written out, as a run keeps it.
    pub fn get_whole(&self, name: &str) -> Result<Procedure, ProcedureError> {
        let (text, format) = self.text(name)?;
        let source = format!("{name}.{}", format.extension());
        let procedure = parse(&text, &source, format)?;
        self.whole(procedure, &source).map_err(|error| match (error, format) {
            (ProcedureError::Invalid(invalid), Format::Toml) => invalid.located(&text).into(),
            (error, Format::Toml | Format::Json) => error,
        })
    }

    /// `source` names the procedure in messages.
    pub fn whole(&self, mut procedure: Procedure, source: &str) -> Result<Procedure, ProcedureError> {
        procedure.resolve(source, &|name| self.get(name).map_err(|error| error.to_string()))?;
        Ok(procedure)
    }

    /// The text of one file, if it is there.
    fn read(&self, name: &str, format: Format) -> anyhow::Result<Option<String>> {
        let path = self.path(name, format);
        let file = format!("{name}.{}", format.extension());
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        // Whatever else lies there might never end, or never begin.
        anyhow::ensure!(metadata.is_file(), "{file} is not a file");
        let length = metadata.len();
        anyhow::ensure!(length <= TEXT_MAX, "{file} has {length} bytes, expected at most {TEXT_MAX}");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// What one file holds, or why it holds nothing, and what is wrong with it.
    fn check(&self, file: &str) -> (Result<String, String>, Result<(), String>) {
        let Some((name, extension)) = file.rsplit_once('.') else { return (Ok(String::new()), Ok(())) };
        let format = if extension == Format::Json.extension() { Format::Json } else { Format::Toml };
        let text = match check_name(name).map(|()| self.read(name, format)) {
            Ok(Ok(text)) => text.unwrap_or_default(),
            Ok(Err(error)) => return (Err(format!("{error:#}")), Err(format!("{error:#}"))),
            Err(error) => return (Err(error.to_string()), Err(error.to_string())),
        };
        let twin = format!("{name}.{}", Format::Toml.extension());
        let checked = if format == Format::Json && self.path(name, Format::Toml).exists() {
            Err(format!("{twin} has the same name and is read instead"))
        } else {
            parse(&text, file, format).map(drop).map_err(|error| error.to_string())
        };
        (Ok(text), checked)
    }

    /// Keeps a procedure. Whoever reads meanwhile sees the old file or the new one, never half of it.
    pub fn put(&self, name: &str, text: &str, format: Format) -> Result<Procedure, ProcedureError> {
        check_name(name)?;
        let source = format!("{name}.{}", format.extension());
        let procedure = parse(text, &source, format)?;
        if procedure.name != name {
            return Err(Invalid {
                source,
                mistakes: vec![crate::procedure::Mistake {
                    line: None,
                    key: "name".to_owned(),
                    message: format!("is {:?}, expected {name:?} as in the URL", procedure.name),
                }],
            }
            .into());
        }
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(name, format);
        let draft = self.directory.join(format!(".{name}.{}", format.extension()));
        write_whole(&draft, &path, text)?;
        let other = match format {
            Format::Toml => Format::Json,
            Format::Json => Format::Toml,
        };
        remove(&self.path(name, other))?;
        Ok(procedure)
    }

    pub fn delete(&self, name: &str) -> Result<(), ProcedureError> {
        check_name(name)?;
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut removed = false;
        for format in [Format::Toml, Format::Json] {
            removed |= remove(&self.path(name, format))?;
        }
        if removed {
            return Ok(());
        }
        let known = self.names()?.join(", ");
        Err(ProcedureError::Unknown { name: name.to_owned(), known })
    }

    fn path(&self, name: &str, format: Format) -> PathBuf {
        self.directory.join(format!("{name}.{}", format.extension()))
    }
}

fn parse(text: &str, source: &str, format: Format) -> Result<Procedure, Invalid> {
    match format {
        Format::Toml => Procedure::from_toml(text, source),
        Format::Json => {
            let value = serde_json::from_str(text).map_err(|error| Invalid {
                source: source.to_owned(),
                mistakes: vec![crate::procedure::Mistake {
                    line: Some(error.line()),
                    key: String::new(),
                    message: format!("not JSON: {error}"),
                }],
            })?;
            Procedure::from_json(&value, source)
        }
    }
}

/// Names become file names, so nothing but a plain name passes.
fn check_name(name: &str) -> Result<(), ProcedureError> {
    let plain = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if plain { Ok(()) } else { Err(ProcedureError::Name { name: name.to_owned() }) }
}

fn write_whole(draft: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(draft)?;
        file.write_all(text.as_bytes())?;
        // Before the old file is gone: a power cut must not leave an empty one.
        file.sync_all()
    };
    write().with_context(|| format!("writing {}", draft.display()))?;
    std::fs::rename(draft, path).with_context(|| format!("renaming to {}", path.display()))
}

fn remove(path: &Path) -> anyhow::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}
