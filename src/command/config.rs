//! `millrace config check` and `millrace config explain`.

use clap::Subcommand;

use super::print_json;
use crate::{
    config::{Loaded, explain},
    say,
};

#[derive(Subcommand)]
pub enum Command {
    /// Check every setting, and say what is odd
    Check {
        /// Print the settings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what a setting is, what it stands at and who said so; without KEY, all
    Explain {
        /// Its name in millrace.toml or in the environment
        key: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Does it. The settings have been checked by loading them.
///
/// # Errors
/// No such setting.
pub fn run(loaded: &Loaded, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Check { json } => {
            for warning in &loaded.warnings {
                eprintln!("millrace: {warning}");
            }
            if json {
                return print_json(&loaded.config);
            }
            say("The settings are fine.");
            Ok(())
        }
        Command::Explain { key, json } => {
            let settings = explain(loaded, key.as_deref())?;
            if json {
                return print_json(&settings);
            }
            for s in settings {
                let value = s.value.as_deref().unwrap_or("unset");
                say(format_args!("{} ({}) = {value}\n    from {}\n    {}", s.key, s.variable, s.origin, s.about));
            }
            Ok(())
        }
    }
}
