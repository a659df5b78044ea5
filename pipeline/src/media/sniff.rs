//! stub
#![allow(missing_docs)]
#[derive(Clone, Debug)]
pub enum Sniffed {
    NeedMore,
    Progressive(&'static str),
    IndexLast(&'static str),
    Unsupported { found: String },
}
pub fn sniff(_head: &[u8]) -> Sniffed {
    Sniffed::NeedMore
}
