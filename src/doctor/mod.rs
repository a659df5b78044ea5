//! `millrace doctor`: what is wrong here, why, and what to do.
//!
//! Promise: it leaves everything as it was, and exits 0 only when all is well.
//! Absent: what only a running daemon knows; `/health/deep` tells that.

mod bucket;
mod host;
mod parts;

use std::process::ExitCode;

use crate::{config::Loaded, say};

/// What may be said.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// What.
    pub subject: &'static str,
    /// Whether it is well.
    pub ok: bool,
    /// How it is, or why it isn't well.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
}

impl Finding {
    fn well(subject: &'static str, found: impl Into<String>) -> Self {
        Self { subject, ok: true, found: found.into(), cure: None }
    }

    fn ill(subject: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { subject, ok: false, found: found.into(), cure: Some(cure.into()) }
    }
}

/// Looks at everything.
///
/// # Errors
/// None: what fails is a finding. The type is the other commands'.
pub async fn run<E: std::error::Error + Send + Sync + 'static>(
    loaded: Result<Loaded, E>,
    args: Args,
) -> anyhow::Result<ExitCode> {
    let findings = match loaded {
        Ok(loaded) => examine(&loaded).await,
        Err(e) => {
            let why = crate::one_line(&e.into());
            vec![Finding::ill("settings", why, "correct it; `millrace config explain` lists all settings")]
        }
    };
    let well = findings.iter().all(|finding| finding.ok);
    if args.json {
        say(serde_json::to_string_pretty(&findings)?);
        return Ok(exit(well));
    }
    for Finding { subject, ok, found, cure } in &findings {
        say(format_args!("{} {subject}: {found}", if *ok { "ok  " } else { "FAIL" }));
        if let Some(cure) = cure {
            say(format_args!("     → {cure}"));
        }
    }
    Ok(exit(well))
}

async fn examine(loaded: &Loaded) -> Vec<Finding> {
    let mut findings = vec![match loaded.warnings.as_slice() {
        [] => Finding::well("settings", "understood"),
        odd => Finding::ill("settings", odd.join("; "), "unset what isn't used"),
    }];
    findings.push(parts::database(loaded).await);
    findings.extend(bucket::bucket(loaded).await);
    findings.push(parts::virus_scan(loaded).await);
    findings.push(parts::data_folder(loaded));
    findings.push(parts::private_files(loaded));
    findings.push(host::free_space(loaded));
    findings.push(host::clock(loaded));
    findings.push(host::media());
    findings.push(host::sandbox());
    findings.push(parts::socket("public address", "--listen", loaded.config.listen).await);
    findings.push(parts::socket("admin address", "--admin", loaded.config.admin).await);
    findings
}

fn exit(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
