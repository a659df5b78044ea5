//! The companion API and its pages.
