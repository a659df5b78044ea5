//! What people see: bars on a terminal, a line per file elsewhere, or JSON for programs.

use std::{io::IsTerminal, path::Path, path::PathBuf, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How one file went.
#[derive(Debug, serde::Serialize)]
pub struct Done {
    /// Which.
    pub path: PathBuf,
    /// Its track.
    pub track_id: Option<String>,
    /// Of the file, in hex.
    pub sha256: Option<String>,
    /// In bytes.
    pub size: u64,
    /// The track's state as last heard.
    pub state: Option<String>,
    /// Where the track is.
    pub url: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The screen.
#[derive(Clone)]
pub struct Show {
    bars: Option<MultiProgress>,
    total: ProgressBar,
    json: bool,
}

impl Show {
    /// For `files` files.
    pub fn new(json: bool, files: usize) -> Self {
        let bars = (!json && std::io::stderr().is_terminal())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(5)));
        let total = match &bars {
            Some(bars) if files > 1 => bars.add(styled(files as u64, "{msg} {pos}/{len}")),
            _ => ProgressBar::hidden(),
        };
        total.set_message("files");
        Self { bars, total, json }
    }

    /// A bar for one file.
    pub fn bar(&self, file: &Path, size: u64) -> ProgressBar {
        let Some(bars) = &self.bars else { return ProgressBar::hidden() };
        let template = "{msg:30!} {wide_bar} {bytes:>10}/{total_bytes:10} {binary_bytes_per_sec:>12} {eta:>4} {prefix}";
        let bar = bars.insert_before(&self.total, styled(size, template));
        bar.set_message(file.file_name().unwrap_or_default().to_string_lossy().into_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        bar
    }

    /// One file has ended, well or not.
    pub fn finished(&self, done: &Done) {
        self.total.inc(1);
        if self.json {
            // A struct of texts and numbers can't fail to become JSON.
            crate::say(serde_json::to_string(done).unwrap_or_default());
            return;
        }
        let path = done.path.display();
        let line = match (&done.error, &done.state) {
            (Some(error), _) => format!("{path}: {error}"),
            (None, Some(state)) => format!("{path}: {state} {}", done.url.as_deref().unwrap_or_default()),
            (None, None) => format!("{path}: sent"),
        };
        match &self.bars {
            Some(bars) => drop(bars.println(line)),
            None if done.error.is_some() => eprintln!("millrace: {line}"),
            None => crate::say(line),
        }
    }

    /// Leaves the screen clean.
    pub fn close(&self) {
        self.total.finish_and_clear();
        if let Some(bars) = &self.bars {
            drop(bars.clear());
        }
    }
}

fn styled(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden()).with_style(style)
}
