//! Where values come from, laid over each other.
//!
//! The only file that reads the environment.

use std::{
    collections::BTreeMap,
    env, fmt, fs,
    path::{Path, PathBuf},
};

use super::{DEFAULTS, FromText, SETTINGS, Setting};

/// Names with our prefix that the test suite reads, not the command.
const FOR_TESTS: &[&str] = &["MILLRACE_SKIP_INTEGRATION"];
/// Names with our prefix that aren't settings.
const FOR_THE_LOADER: &[&str] = &["MILLRACE_CONFIG"];
/// Longest file that a `_FILE` variable may name: more than a secret needs, less than hurts.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value that isn't of its kind, or isn't allowed.
    #[error("{name}{}: {why}", origin.in_brackets())]
    Value {
        /// Variable or key.
        name: String,
        /// Where it came from.
        origin: Origin,
        /// What is wrong and what is right.
        why: String,
    },
    /// No value, where there must be one.
    #[error("{0} must be set")]
    Unset(&'static str),
    /// A key that we don't have.
    #[error("{origin} has the unknown key \"{key}\"; `millrace config explain` lists the known ones")]
    UnknownKey {
        /// The key.
        key: String,
        /// The file.
        origin: Origin,
    },
    /// A variable with our prefix that we don't have.
    #[error("unknown variable {0}; `millrace config explain` lists the known ones")]
    UnknownVariable(String),
    /// The file can't be read.
    #[error("can't read {path}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file isn't TOML.
    #[error("{path} isn't valid TOML: {why}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// The parser's words, on one line.
        why: String,
    },
    /// Asked to explain what isn't there.
    #[error("no setting is called \"{0}\"; `millrace config explain` lists all")]
    NoSuchSetting(String),
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything else.
    Default,
    /// A TOML file.
    File(PathBuf),
    /// A variable.
    Environment(String),
    /// A file that a variable named.
    SecretFile(String),
    /// A flag.
    CommandLine(&'static str),
}

impl Origin {
    fn in_brackets(&self) -> String {
        if *self == Self::Default { String::new() } else { format!(" (from {self})") }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "variable {name}"),
            Self::SecretFile(name) => write!(f, "the file that {name} names"),
            Self::CommandLine(flag) => write!(f, "{flag}"),
        }
    }
}

/// The surroundings that a command starts in.
pub struct Start {
    variables: BTreeMap<String, String>,
    file: Option<PathBuf>,
    flags: Vec<(&'static str, &'static str, String)>,
    as_root: bool,
}

impl Start {
    /// This process's environment.
    pub fn from_environment() -> Self {
        let variables = env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::new(variables.collect(), rustix::process::geteuid().is_root())
    }

    /// Of such variables.
    pub fn new(variables: BTreeMap<String, String>, as_root: bool) -> Self {
        Self { variables, file: None, flags: Vec::new(), as_root }
    }

    /// Uses this file instead of `./millrace.toml`; it must exist.
    pub fn file(mut self, path: Option<PathBuf>) -> Self {
        self.file = path;
        self
    }

    /// A value from the command line.
    pub fn flag(mut self, key: &'static str, flag: &'static str, value: Option<String>) -> Self {
        self.flags.extend(value.map(|value| (key, flag, value)));
        self
    }

    pub(super) fn is_set(&self, variable: &str) -> bool {
        self.variable(variable).is_some()
    }

    pub(super) fn path_dirs(&self) -> Vec<PathBuf> {
        self.variable("PATH").map(|path| env::split_paths(path).collect()).unwrap_or_default()
    }

    pub(super) fn runtime_dir(&self) -> Option<PathBuf> {
        self.variable("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute())
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        let home = || PathBuf::from(self.variable("HOME").unwrap_or("/")).join(".local/state");
        let named = self.variable("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        named.unwrap_or_else(home).join("millrace")
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }
}

/// One text per key, with its origin.
#[derive(Default)]
pub struct Values(BTreeMap<&'static str, (String, Origin)>);

impl Values {
    pub(super) fn overlay(start: Start) -> Result<(Self, Start), Error> {
        let mut values = Self::default();
        values.lay_toml(DEFAULTS, Path::new("config.default.toml"), &Origin::Default)?;
        let data = if start.as_root { "/var/lib/millrace" } else { "data" };
        values.0.insert("data", (data.into(), Origin::Default));
        values.lay_file(&start)?;
        values.lay_environment(&start)?;
        for (key, flag, value) in &start.flags {
            values.0.insert(key, (value.clone(), Origin::CommandLine(flag)));
        }
        Ok((values, start))
    }

    /// The value of `key`, as its type reads it.
    pub(super) fn parse<T: FromText>(&self, key: &'static str) -> Result<T, Error> {
        let found = self.0.get(key);
        match T::from_text(found.map(|(text, _)| text.trim())) {
            Some(Ok(value)) => Ok(value),
            None => Err(Error::Unset(variable_of(key))),
            Some(Err(why)) => Err(Error::Value { name: variable_of(key).into(), origin: self.origin(key), why }),
        }
    }

    /// Where `key` got its value; unset ones count as default.
    pub fn origin(&self, key: &str) -> Origin {
        self.0.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    fn lay_file(&mut self, start: &Start) -> Result<(), Error> {
        let named = start.file.clone().or_else(|| start.variable("MILLRACE_CONFIG").map(PathBuf::from));
        let path = named.clone().unwrap_or_else(|| PathBuf::from("millrace.toml"));
        match fs::read_to_string(&path) {
            Ok(text) => self.lay_toml(&text, &path, &Origin::File(path.clone())),
            Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::Unreadable { path, source }),
        }
    }

    fn lay_toml(&mut self, text: &str, path: &Path, origin: &Origin) -> Result<(), Error> {
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| Error::Syntax { path: path.into(), why: e.message().replace('\n', " ") })?;
        for (key, value) in table {
            let Some(Setting { key, .. }) = SETTINGS.iter().find(|s| s.key == key) else {
                return Err(Error::UnknownKey { key, origin: origin.clone() });
            };
            let text = plain(&value).ok_or_else(|| Error::Value {
                name: (*key).into(),
                origin: origin.clone(),
                why: "must be a text, a number or a list of texts".into(),
            })?;
            self.0.insert(key, (text, origin.clone()));
        }
        Ok(())
    }

    fn lay_environment(&mut self, start: &Start) -> Result<(), Error> {
        for Setting { key, variable } in SETTINGS {
            let file = format!("{variable}_FILE");
            let direct =
                start.variable(variable).map(|text| (text.to_owned(), Origin::Environment((*variable).into())));
            let value = match (direct, start.variable(&file)) {
                (Some(_), Some(_)) => {
                    let why = format!("{variable} is set too; keep one of them");
                    return Err(Error::Value { name: file.clone(), origin: Origin::Environment(file), why });
                }
                (None, Some(path)) => Some((read_secret(Path::new(path))?, Origin::SecretFile(file))),
                (direct, None) => direct,
            };
            self.0.extend(value.map(|value| (*key, value)));
        }
        let known = |name: &str| {
            let plain = name.strip_suffix("_FILE").unwrap_or(name);
            SETTINGS.iter().any(|s| s.variable == name || s.variable == plain)
                || FOR_TESTS.contains(&name)
                || FOR_THE_LOADER.contains(&name)
        };
        match start.variables.keys().find(|name| name.starts_with("MILLRACE_") && !known(name)) {
            Some(name) => Err(Error::UnknownVariable(name.clone())),
            None => Ok(()),
        }
    }
}

pub(super) fn variable_of(key: &str) -> &'static str {
    SETTINGS.iter().find(|s| s.key == key).map_or("a setting", |s| s.variable)
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(s) => Some(s.clone()),
        toml::Value::Integer(n) => Some(n.to_string()),
        toml::Value::Boolean(b) => Some(b.to_string()),
        toml::Value::Array(items) => Some(items.iter().map(plain).collect::<Option<Vec<_>>>()?.join(",")),
        _ => None,
    }
}

fn read_secret(path: &Path) -> Result<String, Error> {
    let unreadable = |source| Error::Unreadable { path: path.into(), source };
    if fs::metadata(path).map_err(unreadable)?.len() > SECRET_FILE_BYTES_MAX {
        return Err(unreadable(std::io::Error::other("too large for a secret")));
    }
    Ok(fs::read_to_string(path).map_err(unreadable)?.trim_end_matches(['\r', '\n']).to_owned())
}
