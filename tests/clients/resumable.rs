//! resumable-upload 0.3.0, where it does more than send a file.

use serde_json::json;

use super::{
    ground::{Fault, Mode, Store},
    run::Client,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_final_upload_may_come_before_the_bytes_of_its_partials() {
    for fault in [Fault::Nothing, Fault::Cut] {
        let asked = json!({ "early": true, "parallel": 4, "checksum": true, "retries": 9 });
        let mode = Mode::of(Client::Resumable, asked).in_four();
        mode.goes_through(fault, Store::Folder).await;
    }
}
