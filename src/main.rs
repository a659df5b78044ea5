//! The `millrace` command.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all: a worker must reach its sandbox with nothing opened, parsed or started.
    if std::env::args_os().nth(1).is_some_and(|a| a == pipeline::media::worker::ARGUMENT) {
        return pipeline::media::worker::run();
    }
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    match args.as_slice() {
        [verb, file, option, out] if verb == "transcode" && option == "--out" => {
            transcode(Path::new(file), Path::new(out))
        }
        _ => ExitCode::from(2),
    }
}

/// The media engine on one file, without a server.
fn transcode(file: &Path, out: &Path) -> ExitCode {
    let made = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        let ladder = pipeline::media::Ladder::parse("aac:64k,aac:160k,aac:256k,flac")?;
        let exe = std::env::current_exe()?;
        Ok(runtime.block_on(pipeline::media::offline::transcode(file, out, ladder, 6, exe))?)
    });
    match made {
        Ok(made) => {
            println!("{}: {} samples at {} Hz", made.index.display(), made.samples, made.rate);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}
