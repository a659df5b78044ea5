//! The life of an upload.
//!
//! ```text
//! opened ─Receive─► receiving ─Seal─► sealing ─Store─► stored
//!    │                  │                └────Fail───► failed(reason)
//!    ├──Abort, Expire───┴──► aborted, expired
//!    └──Fail──► failed(reason)
//! ```

crate::machine! {
    /// One resource with an offset and a length. Its row: `uploads`.
    Upload in "uploads";
    opens Opened;
    states {
        /// Created; not a byte has come.
        Opened = "opened",
        /// Bytes are coming, or may go on coming.
        Receiving = "receiving",
        /// Every byte is committed; size and digest are being checked, the object is being completed.
        Sealing = "sealing",
        /// The object is whole, verified and durable.
        Stored = "stored",
        /// The client ended it.
        Aborted = "aborted",
        /// Nobody went on with it.
        Expired = "expired",
        /// It can never be stored; `reason` says why.
        Failed = "failed",
    }
    edges {
        /// The first byte.
        Receive : Opened => Receiving,
        /// The last byte is committed. From `Opened` when the length is 0.
        Seal : Opened | Receiving => Sealing,
        /// Verified, complete, durable.
        Store {
            /// SHA-256 of the stored bytes.
            sha256: Vec<u8>,
            /// When.
            stored_at: time::OffsetDateTime,
        } : Sealing => Stored,
        /// By the client's DELETE.
        Abort : Opened | Receiving => Aborted,
        /// By the sweep.
        Expire : Opened | Receiving => Expired,
        /// For good.
        Fail {
            /// A stable code, such as `digest_mismatch`.
            reason: String,
        } : Opened | Receiving | Sealing => Failed,
    }
}
