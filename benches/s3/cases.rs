//! What is uploaded in one turn of one server.

const MIB: u64 = 1 << 20;

/// So many uploads at once, of so many bytes each, in requests of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) uploads: u64,
    pub(super) bytes: u64,
    /// As large as the upload: in one request.
    pub(super) patch_bytes: u64,
}

impl Case {
    const fn new(uploads: u64, bytes: u64, patch_bytes: u64) -> Self {
        assert!(uploads <= super::STEPS_MAX, "no two uploads are of the same bytes");
        assert!(bytes <= super::SOURCE_BYTES && bytes.is_multiple_of(patch_bytes));
        Self { uploads, bytes, patch_bytes }
    }

    pub(super) fn is_whole(self) -> bool {
        self.patch_bytes == self.bytes
    }

    /// In all.
    pub(super) fn all_bytes(self) -> u64 {
        self.uploads * self.bytes
    }

    pub(super) fn patches(self) -> u64 {
        self.all_bytes() / self.patch_bytes
    }

    /// `1 × 1 GiB in one request`.
    pub(super) fn name(self) -> String {
        let size = |bytes: u64| match bytes {
            b if b % (1024 * MIB) == 0 => format!("{} GiB", b / (1024 * MIB)),
            b => format!("{} MiB", b / MIB),
        };
        let requests =
            if self.is_whole() { "one request".into() } else { format!("{} PATCHes", size(self.patch_bytes)) };
        format!("{} × {}, {requests}", self.uploads, size(self.bytes))
    }
}

/// Sizes such that the fastest takes half a second: the kernel counts CPU in hundredths.
pub(super) const SINK: &[Case] = &[
    Case::new(1, 1024 * MIB, 1024 * MIB),
    Case::new(8, 128 * MIB, 128 * MIB),
    Case::new(1, 512 * MIB, 8 * MIB),
    Case::new(8, 64 * MIB, 8 * MIB),
    Case::new(1, 128 * MIB, MIB),
    Case::new(8, 32 * MIB, MIB),
];

/// A store that keeps what it gets is slower, and has to keep it.
pub(super) const GARAGE: &[Case] = &[
    Case::new(1, 512 * MIB, 512 * MIB),
    Case::new(8, 64 * MIB, 64 * MIB),
    Case::new(1, 256 * MIB, 8 * MIB),
    Case::new(1, 64 * MIB, MIB),
];
