//! What the pages show, and the templates that show it. No I/O.

use askama::Template;

use super::assets::Built;

/// What to run when a build carries no page.
pub(super) const BUILD_COMMAND: &str = "make web";

/// One own track in the list that needs no JavaScript.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) title: String,
    pub(super) filename: Option<String>,
    pub(super) state: String,
    pub(super) detail: Option<String>,
    pub(super) samples: Option<i64>,
    pub(super) rate: Option<i32>,
    pub(super) size: Option<i64>,
    pub(super) sha256: Option<Vec<u8>>,
    pub(super) arrived: Option<i64>,
    pub(super) length: Option<i64>,
}

impl Row {
    /// The state in words; while it arrives, how much of it is safe here.
    fn standing(&self) -> String {
        match (self.state.as_str(), self.arrived, self.length) {
            ("ready", ..) => "Verified".into(),
            ("failed", ..) => "Failed".into(),
            (_, Some(arrived), Some(length)) if arrived < length && length > 0 => {
                format!("Arriving, {} % safe on the server", arrived.saturating_mul(100) / length)
            }
            ("playable", ..) => "Encoding, plays already".into(),
            _ => "Encoding".into(),
        }
    }

    /// Length, size and original name, as far as they are known.
    fn facts(&self) -> String {
        let clock = self.samples.zip(self.rate.filter(|r| *r > 0)).map(|(samples, rate)| {
            let seconds = samples / i64::from(rate);
            format!("{}:{:02}", seconds / 60, seconds % 60)
        });
        let size = self.size.or(self.length).map(megabytes);
        [clock, size, self.filename.clone()].into_iter().flatten().collect::<Vec<_>>().join(" · ")
    }

    fn digest(&self) -> Option<String> {
        let hex = |bytes: &Vec<u8>| bytes.iter().map(|b| format!("{b:02x}")).collect();
        self.sha256.as_ref().map(hex)
    }
}

fn megabytes(bytes: i64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// What stands around every page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) title: &'static str,
    pub(super) built: Option<Built>,
    pub(super) csrf: String,
}

impl Frame {
    /// Named when the build carries no page.
    fn build_command(&self) -> Option<&'static str> {
        self.built.is_none().then_some(BUILD_COMMAND)
    }
}

/// `/`: upload, own tracks, player.
#[derive(Template)]
#[template(path = "home.html")]
pub(super) struct Home {
    pub(super) frame: Frame,
    pub(super) rows: Vec<Row>,
}

/// `/sign-in`: a form for a token.
#[derive(Template)]
#[template(path = "sign-in.html")]
pub(super) struct SignIn {
    pub(super) frame: Frame,
    pub(super) has_failed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(built: Option<Built>, rows: Vec<Row>) -> String {
        Home { frame: Frame { title: "Your tracks", built, csrf: "t0ken".into() }, rows }.render().unwrap()
    }

    const BUILT: Built = Built { script: "main-1.js", style: "main-2.css", icon: "mark-3.svg" };

    #[test]
    fn a_hostile_title_stays_text() {
        let row = Row { title: "<script>alert(1)</script>\"'".into(), state: "ready".into(), ..Row::default() };
        let page = home(Some(BUILT), vec![row]);
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
    }

    #[test]
    fn no_page_holds_an_inline_script_or_style_or_names_another_host() {
        let sign_in =
            SignIn { frame: Frame { title: "Sign in", built: Some(BUILT), csrf: String::new() }, has_failed: true };
        for page in [home(Some(BUILT), vec![Row::default()]), sign_in.render().unwrap()] {
            for (at, _) in page.match_indices("<script") {
                assert!(page[at..].starts_with("<script type=\"module\" src=\"/assets/"), "{page}");
            }
            for banned in ["<style", "style=", " onclick", " onload", "http://", "https://"] {
                assert!(!page.contains(banned), "{banned} in {page}");
            }
        }
    }

    #[test]
    fn the_scripts_find_the_token_and_their_places() {
        let page = home(Some(BUILT), vec![]);
        assert!(page.contains("<meta name=\"csrf-token\" content=\"t0ken\">"), "{page}");
        for id in ["uploader", "library", "player", "said"] {
            assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id} in {page}");
        }
    }

    #[test]
    fn a_build_without_the_page_lists_the_tracks_and_says_what_to_run() {
        let row = Row {
            title: "Low tide".into(),
            state: "playable".into(),
            arrived: Some(40),
            length: Some(100),
            ..Row::default()
        };
        let page = home(None, vec![row]);
        assert!(page.contains("make web") && page.contains("Low tide"), "{page}");
        assert!(page.contains("Arriving, 40 % safe on the server"), "{page}");
        assert!(!page.contains("<script") && !page.contains("stylesheet"), "{page}");
        assert!(!home(Some(BUILT), vec![]).contains("make web"));
    }

    #[test]
    fn facts_hold_what_is_known() {
        let row = Row {
            samples: Some(44_100 * 192),
            rate: Some(44_100),
            size: Some(46_150_000),
            filename: Some("a.flac".into()),
            ..Row::default()
        };
        assert_eq!(row.facts(), "3:12 · 46.1 MB · a.flac");
        assert_eq!(Row::default().facts(), "");
        assert_eq!(Row { sha256: Some(vec![0x0a, 0xff]), ..Row::default() }.digest().as_deref(), Some("0aff"));
    }
}
