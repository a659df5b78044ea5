//! The life of a track.
//!
//! ```text
//! ingesting ─Play─► playable ─Finish─► ready ─TakeDown─► taken_down   (TakeDown from every state)
//!     │  └──────────Finish──────────────┘
//!     └──Fail──► failed(reason) ─Retry─► ingesting          (Fail from playable too)
//! ```

crate::machine! {
    /// What a listener plays. It exists from its upload's first byte. Its row: `tracks`.
    Track in "tracks";
    opens Ingesting;
    states {
        /// Bytes are coming, or wait to be encoded; nothing plays yet.
        Ingesting = "ingesting",
        /// Segments exist and play, for the uploader alone until the bytes are verified.
        Playable = "playable",
        /// Verified bytes, the whole ladder.
        Ready = "ready",
        /// It won't get ready by itself; `reason` says why.
        Failed = "failed",
        /// Removed from sight by its owner or a moderator.
        TakenDown = "taken_down",
    }
    edges {
        /// The first segment of every rung is in the store.
        Play {
            /// The run that players are given.
            run: i32,
        } : Ingesting => Playable,
        /// Verified and encoded.
        Finish {
            /// The run that players are given from now on.
            run: i32,
            /// Length of the ladder's timeline.
            samples: i64,
        } : Ingesting | Playable => Ready,
        /// For good, until somebody retries.
        Fail {
            /// A stable code, such as `unsupported_media`.
            reason: String,
            /// The same in a sentence.
            detail: String,
        } : Ingesting | Playable => Failed,
        /// Encode again from the stored bytes.
        Retry {
            /// No run is shown while the new one starts.
            run: Option<i32>,
            /// Forgets the failure.
            reason: Option<String>,
            /// Forgets the failure.
            detail: Option<String>,
        } : Failed => Ingesting,
        /// Out of sight.
        TakeDown : Ingesting | Playable | Ready | Failed => TakenDown,
    }
}
