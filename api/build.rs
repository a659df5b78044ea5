//! Turns the built page into a table that the binary carries.
//!
//! Reads `web/dist/index.txt` (one `kind name` per line) and writes `page.rs`: each file with its compressed
//! twins, and which of them the page starts with. A checkout without a built page compiles too: the table is
//! empty then, and the page says what to run.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let web = home.join("../web");
    let dist = web.join("dist");
    // A missing path would make every build start over, so until there is a `dist` its parent is watched.
    let watched = if dist.exists() { &dist } else { &web };
    println!("cargo::rerun-if-changed={}", watched.display());
    println!("cargo::rerun-if-changed=build.rs");

    let index = fs::read_to_string(dist.join("index.txt")).unwrap_or_default();
    let table = table(&index, &dist)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("page.rs"), table)
}

/// The source of the table: `FILES` sorted by name, and the entry's script, style and icon.
fn table(index: &str, dist: &Path) -> io::Result<String> {
    let of = |kind: &str| -> Vec<&str> {
        let mut names: Vec<_> = index.lines().filter_map(|l| l.strip_prefix(kind)?.strip_prefix(' ')).collect();
        names.sort_unstable();
        names
    };
    let mut rust = String::from("static FILES: &[File] = &[\n");
    for name in of("file") {
        let raw = dist.join(name).canonicalize()?;
        let (brotli, gzip) = (format!("{}.br", raw.display()), format!("{}.gz", raw.display()));
        writeln!(
            rust,
            "    File {{ name: {name:?}, raw: include_bytes!({:?}), brotli: include_bytes!({brotli:?}), gzip: include_bytes!({gzip:?}) }},",
            raw.display().to_string(),
        )
        .map_err(io::Error::other)?;
    }
    rust.push_str("];\n");
    for (constant, kind) in [("SCRIPT", "script"), ("STYLE", "style"), ("ICON", "icon")] {
        writeln!(rust, "static {constant}: Option<&str> = {:?};", of(kind).first()).map_err(io::Error::other)?;
    }
    Ok(rust)
}
