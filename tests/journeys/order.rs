//! Seals and encodes of the same tracks at the same moment: rows are locked in one order, so nobody is a deadlock's victim.

use crate::support::{app::App, sound::wav, tus};

#[tokio::test]
async fn seals_and_encodes_never_wait_for_each_other_in_a_circle() {
    // A seal once locked the track before the job, an encode the job before the track: one FLAC in five was encoded twice.
    let app = App::start().await;
    let bytes = wav(44_100 * 12, 44_100);
    for round in 0..12 {
        let upload = tus::create(&app, "tone.wav", &bytes).await;
        // Small requests spread the encode over the upload, so that its last segments meet the seal.
        let step = bytes.len() / (3 + round % 4);
        let mut at = 0;
        while at < bytes.len() {
            let end = (at + step).min(bytes.len());
            assert_eq!(tus::patch(&app, &upload, at as u64, &bytes[at..end]).await.status(), 204);
            at = end;
        }
        assert_eq!(app.settled(&upload.track).await["state"], "ready");
    }
    app.until_clean().await;
    assert_eq!(app.ask("SELECT sum(failures)::bigint FROM jobs").await, 0);
}
