//! `millrace man` and `millrace completions`: the command line describes itself.

use std::io::Write;

use anyhow::Context;

/// Writes a shell's completion script.
pub fn completions(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::whole(), "millrace", &mut script);
    crate::say(String::from_utf8_lossy(&script).trim_end());
}

/// Writes the manual page, with a section for every subcommand.
///
/// # Errors
/// It can't be made.
pub fn page() -> anyhow::Result<()> {
    let mut page = Vec::new();
    let mut whole = super::whole();
    whole.build();
    clap_mangen::Man::new(whole.clone()).render(&mut page).context("can't make the manual page")?;
    for command in whole.get_subcommands().filter(|c| !c.is_hide_set()) {
        writeln!(page, ".SH {}", command.get_name().to_uppercase())?;
        let man = clap_mangen::Man::new(command.clone());
        man.render_synopsis_section(&mut page)?;
        man.render_options_section(&mut page)?;
        if command.has_subcommands() {
            man.render_subcommands_section(&mut page)?;
        }
    }
    crate::say(String::from_utf8_lossy(&page).trim_end());
    Ok(())
}
