//! Every client, in the modes that its users use, through every fault, on both stores.
//!
//! A line of the table is four tests. The client itself tries again, as its users set it up to; nobody helps it.

use serde_json::json;

use super::{
    ground::{Fault, Mode, Store},
    run::{Client, MIB},
};

macro_rules! matrix {
    ($($name:ident: $mode:expr;)*) => {$(
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn clean() {
                $mode.goes_through(Fault::Nothing, Store::Folder).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn cut_on_s3() {
                $mode.goes_through(Fault::Cut, Store::S3).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn killed() {
                $mode.goes_through(Fault::Killed, Store::Folder).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn killed_on_s3() {
                $mode.goes_through(Fault::Killed, Store::S3).await;
            }
        }
    )*};
}

/// tus-js-client and Uppy, which uses it, count tries anew whenever one got further.
const DELAYS_MS: [u32; 4] = [50, 100, 200, 400];

matrix! {
    tus_js: Mode::of(Client::TusJs, json!({ "retry": DELAYS_MS }));
    tus_js_in_chunks: Mode::of(Client::TusJs, json!({ "retry": DELAYS_MS, "chunkSize": 4 * MIB }));
    tus_js_deferred: Mode::of(Client::TusJs, json!({
        "retry": DELAYS_MS, "deferred": true, "chunkSize": 4 * MIB, "fromMemory": true,
    }));
    tus_js_parallel_4: Mode::of(Client::TusJs, json!({ "retry": DELAYS_MS, "parallel": 4 })).in_four();
    tus_js_creation_with_upload: Mode::of(Client::TusJs, json!({
        "retry": DELAYS_MS, "inCreation": true, "chunkSize": 4 * MIB,
    }));
    tus_js_ietf_draft_05: Mode::of(Client::TusJs, json!({
        "retry": DELAYS_MS, "protocol": "ietf-draft-05", "fromMemory": true,
    }));
    uppy: Mode::of(Client::Uppy, json!({ "retry": DELAYS_MS }));
    tuspy: Mode::of(Client::Tuspy, json!({ "retries": 9 }));
    tuspy_with_checksum: Mode::of(Client::Tuspy, json!({ "retries": 9, "checksum": true, "chunkSize": 4 * MIB }));
    aiotus: Mode::of(Client::Aiotus, json!({ "retries": 9 }));
    resumable_upload: Mode::of(Client::Resumable, json!({ "retries": 9 }));
    resumable_upload_parallel_4_with_checksum: Mode::of(Client::Resumable, json!({
        "retries": 9, "parallel": 4, "checksum": "sha256",
    })).in_four();
    curl: Mode::of(Client::Curl, json!({ "retries": 9 }));
    millrace_upload: Mode::of(Client::Millrace, json!({ "parallel": 1 }));
    // Smaller files aren't worth several connections to it.
    millrace_upload_parallel_4: Mode { bytes: 33 * MIB, ..Mode::of(Client::Millrace, json!({ "parallel": 4 })) };
}
