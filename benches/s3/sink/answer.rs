//! What the sink says.

/// Anything but an error's absence is enough for those who ask.
const LAST_MODIFIED: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

pub(super) struct Answer {
    status: &'static str,
    headers: Vec<(String, String)>,
    /// Before the body: bytes of an object that wasn't kept.
    pub(super) zeros: u64,
    pub(super) body: Vec<u8>,
    /// Of an answer to HEAD, whose body isn't here.
    announced: Option<u64>,
}

impl Answer {
    pub(super) fn new(status: &'static str) -> Self {
        Self { status, headers: Vec::new(), zeros: 0, body: Vec::new(), announced: None }
    }

    pub(super) fn xml(text: String) -> Self {
        Self { body: text.into_bytes(), ..Self::new("200 OK") }.with("content-type", "application/xml".into())
    }

    pub(super) fn error(status: &'static str, code: &str) -> Self {
        let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
        Self { body: text.into_bytes(), ..Self::new(status) }.with("content-type", "application/xml".into())
    }

    pub(super) fn missing(code: &str) -> Self {
        Self::error("404 Not Found", code)
    }

    pub(super) fn object(status: &'static str, etag: &str) -> Self {
        Self::new(status).with("etag", etag.into()).with("last-modified", LAST_MODIFIED.into())
    }

    pub(super) fn with(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }

    pub(super) fn announcing(mut self, length: u64) -> Self {
        self.announced = Some(length);
        self
    }

    pub(super) fn head(&self) -> Vec<u8> {
        let length = self.announced.unwrap_or(self.zeros + self.body.len() as u64);
        let mut head = format!("HTTP/1.1 {}\r\n", self.status);
        if !self.status.starts_with("204") {
            head.push_str(&format!("content-length: {length}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}
