//! How each kind of value is written: `90s`, `10MiB`, `local`.

use std::{fmt, net::IpAddr, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};

/// A value that can be read from its text. `None`: there is no text, and there must be one.
pub trait FromText: Sized {
    /// The value, or what is allowed instead.
    fn from_text(text: Option<&str>) -> Option<Result<Self, String>>;
}

impl<T: FromText> FromText for Option<T> {
    fn from_text(text: Option<&str>) -> Option<Result<Self, String>> {
        match text {
            None | Some("") => Some(Ok(None)),
            some => T::from_text(some).map(|read| read.map(Some)),
        }
    }
}

macro_rules! read_by_from_str {
    ($($type:ty: $wanted:literal),+ $(,)?) => {$(
        impl FromText for $type {
            fn from_text(text: Option<&str>) -> Option<Result<Self, String>> {
                text.map(|t| t.parse().map_err(|_| format!(concat!("\"{}\" isn't ", $wanted), t)))
            }
        }
    )+};
}
read_by_from_str! {
    u32: "a whole number",
    bool: "true or false",
    SocketAddr: "an address with a port, such as 127.0.0.1:8080",
    PathBuf: "a path",
    String: "a text",
    Span: "a duration such as 90s, 15m or 1h",
    Size: "a size in bytes, such as 10MiB or 10485760",
    Environment: "development or production",
    LogFormat: "auto, human or json",
    Backend: "a storage backend: use local or s3",
 ClamdAddress: "host:port or unix:/path",
    WebUrl: "an http:// or https:// address without a query",
}

impl FromText for Secret {
    fn from_text(text: Option<&str>) -> Option<Result<Self, String>> {
        text.map(|t| Ok(Self(t.to_owned())))
    }
}

impl<T: FromStr> FromText for List<T> {
    fn from_text(text: Option<&str>) -> Option<Result<Self, String>> {
        let items = text?.split(',').map(str::trim).filter(|item| !item.is_empty());
        let read = |item: &str| item.parse().map_err(|_| format!("\"{item}\" isn't allowed in this list"));
        Some(items.map(read).collect::<Result<_, _>>().map(List))
    }
}

/// Several values, written with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// How strict to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Trying it out: defaults are filled in.
    Development,
    /// Serving others: what must be said knowingly must be said.
    Production,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal in development, else JSON.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Where bytes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In `$MILLRACE_DATA`.
    Local,
    /// In a bucket.
    S3,
}

/// Where clamd listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClamdAddress(pub pipeline::scan::Address);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives bytes.
    Uploads,
    /// Serves playlists and segments.
    Playback,
    /// Answers everything else.
    Api,
    /// Does jobs.
    Worker,
}

/// A web address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl(url::Url);

/// An address, or all that share a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

/// The text isn't of this kind.
#[derive(Debug)]
pub struct Unreadable;

const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

impl FromStr for Span {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).ok_or(Unreadable)?);
        let (_, ms) = SPANS.iter().find(|(name, _)| *name == unit.trim()).ok_or(Unreadable)?;
        let number: u64 = number.parse().map_err(|_| Unreadable)?;
        number.checked_mul(*ms).map(|ms| Self(Duration::from_millis(ms))).ok_or(Unreadable)
    }
}

impl FromStr for Size {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = if unit.is_empty() { "B" } else { unit.trim() };
        let (_, bytes) = SIZES.iter().find(|(name, _)| *name == unit).ok_or(Unreadable)?;
        let number: u64 = number.parse().map_err(|_| Unreadable)?;
        number.checked_mul(*bytes).map(Self).ok_or(Unreadable)
    }
}

impl FromStr for WebUrl {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let url = url::Url::parse(text).map_err(|_| Unreadable)?;
        let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
        if plain { Ok(Self(url)) } else { Err(Unreadable) }
    }
}

impl FromStr for ClamdAddress {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        text.parse().map(Self).map_err(|_| Unreadable)
    }
}

impl FromStr for Network {
    type Err = Unreadable;
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| Unreadable)?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(widest), str::parse).map_err(|_| Unreadable)?;
        if prefix <= widest { Ok(Self { address, prefix }) } else { Err(Unreadable) }
    }
}

macro_rules! names {
    ($($type:ident { $($variant:ident = $text:literal),+ })+) => {$(
        impl FromStr for $type {
            type Err = Unreadable;
            fn from_str(text: &str) -> Result<Self, Unreadable> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(Unreadable) }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text),+ })
            }
        }
    )+};
}
names! {
    Backend { Local = "local", S3 = "s3" }
    Environment { Development = "development", Production = "production" }
    LogFormat { Auto = "auto", Human = "human", Json = "json" }
    Role { Uploads = "uploads", Playback = "playback", Api = "api", Worker = "worker" }
}

impl Secret {
    /// The text itself, for the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl WebUrl {
    /// The address.
    pub fn url(&self) -> &url::Url {
        &self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let fits = |(_, unit): &&(&str, u64)| ms.is_multiple_of(*unit) && ms >= *unit;
        let (name, unit) = SPANS[..4].iter().rev().find(fits).unwrap_or(&SPANS[1]);
        write!(f, "{}{name}", ms / unit)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, unit): &&(&str, u64)| self.0.is_multiple_of(*unit) && self.0 >= *unit;
        let (name, unit) = SIZES[..3].iter().rev().find(fits).unwrap_or(&SIZES[6]);
        write!(f, "{}{name}", self.0 / unit)
    }
}

impl fmt::Display for ClamdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: fmt::Display> fmt::Display for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

macro_rules! shown_as_text {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )+};
}
shown_as_text!(
    Span,
    Size,
    Secret,
    Environment,
    LogFormat,
    Backend,
    ClamdAddress,
    WebUrl,
    List<Role>,
    List<Network>,
    List<String>
);
