//! Where the program is.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The one that these tests were written against; `scripts/tools` installs it.
const VERSION: &str = "2.5.0";

/// `MILLRACE_TEST_GARAGE`, else the one in the cache folder, else the one on the path.
pub(super) fn path() -> PathBuf {
    if let Some(named) = env::var_os("MILLRACE_TEST_GARAGE") {
        return named.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| Path::new(&env::var_os("HOME").unwrap_or_default()).join(".cache"));
    let kept = cache.join(format!("millrace/tools/garage-{VERSION}/bin/garage"));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("garage"));
    let found = [kept.clone()].into_iter().chain(on_path).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("no garage at {} or on the path: run `make tools`", kept.display()))
}
