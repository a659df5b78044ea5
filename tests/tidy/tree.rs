//! The files of the repository, as the rules see them.

use std::{fs, path::Path, process::Command};

/// What is made rather than written, if git can't tell.
const MADE: &[&str] = &["target", "node_modules", "dist", "data", ".git"];

pub struct File {
    pub path: String,
    pub bytes: u64,
    /// Empty if it isn't text.
    pub text: String,
}

#[derive(Default)]
pub struct Tree {
    pub files: Vec<File>,
}

impl Tree {
    /// This checkout: what git knows or would add, else all that isn't made.
    pub fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = Command::new("git").args(args).current_dir(root).output();
        let mut paths: Vec<String> = match listed {
            Ok(out) if out.status.success() => {
                String::from_utf8(out.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
            }
            _ => Vec::new(),
        };
        if paths.is_empty() {
            walk(root, root, &mut paths);
        }
        let read = |path: String| {
            // What git knows may have been deleted here.
            let bytes = fs::read(root.join(&path)).ok()?;
            Some(File { path, bytes: bytes.len() as u64, text: String::from_utf8(bytes).unwrap_or_default() })
        };
        // The planted faults are there to be seen by their own tests only.
        let files: Vec<_> = paths.into_iter().filter(|path| path != "tests/tidy/planted.rs").filter_map(read).collect();
        assert!(files.iter().any(|f| f.path == "src/main.rs"), "the tree was not found");
        Self { files }
    }

    /// A tree of one file.
    pub fn of(path: &str, text: &str) -> Self {
        Self::default().and(path, text)
    }

    pub fn and(mut self, path: &str, text: &str) -> Self {
        self.files.push(File { path: path.into(), bytes: text.len() as u64, text: text.into() });
        self
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.is("rs"))
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }
}

impl File {
    pub fn is(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, e)| e == extension)
    }

    /// Numbered from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(n, line)| (n + 1, line))
    }
}

/// Whether `word` at `at` stands alone.
pub fn is_word_at(text: &str, at: usize, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    !text[..at].ends_with(joins) && !text[at + word.len()..].starts_with(joins)
}

fn walk(root: &Path, dir: &Path, paths: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !MADE.contains(&name.as_str()) {
                walk(root, &path, paths);
            }
        } else if let Ok(relative) = path.strip_prefix(root) {
            paths.push(relative.to_string_lossy().into_owned());
        }
    }
}
