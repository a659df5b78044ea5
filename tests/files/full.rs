//! A full disk: 507 before any acknowledgement, and it goes on without a restart when there is space again.

use std::process::Command;

use crate::support::{app::App, sound::noise, tus};

/// A file system of its own, taken away when dropped.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(at: &std::path::Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at).status();
        done.is_ok_and(|s| s.success()).then(|| Self(at.into()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_store_says_so_and_recovers() {
    // U9
    let folder = crate::postgres::daemon::folder();
    let data = folder.path().join("data");
    let Some(_small) = Small::mount(&data.join("store"), "32m") else {
        println!("skipped: this machine doesn't let us mount a small file system");
        return;
    };
    let app = App::at(folder, data.clone(), &[("UPLOAD_PART_BYTES", "5MiB")]).await;
    let bytes = noise(24 << 20, 14);
    let filler = data.join("store/filler");
    std::fs::write(&filler, noise(20 << 20, 15)).unwrap();
    let upload = tus::create(&app, "x.bin", &bytes).await;
    let answer = tus::patch(&app, &upload, 0, &bytes).await;
    assert_eq!(answer.status(), 507);
    let offset = tus::offset(&app, &upload).await as usize;
    assert!(offset <= 12 << 20);
    assert_eq!(tus::patch(&app, &upload, offset as u64, &bytes[offset..]).await.status(), 507);
    std::fs::remove_file(&filler).unwrap();
    let offset = tus::offset(&app, &upload).await as usize;
    assert_eq!(tus::patch(&app, &upload, offset as u64, &bytes[offset..]).await.status(), 204);
    let track = app.track_when(&upload.track, "stored", |t| t["stored"] == true).await;
    assert_eq!(track["sha256"], tus::sha256(&bytes));
}
