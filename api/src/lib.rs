//! The companion API and its pages.

pub mod pages;
