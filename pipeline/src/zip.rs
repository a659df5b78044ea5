//! A ZIP archive written front to back (PKWARE's APPNOTE 6.3.10): stored entries, sizes and checksums behind their bytes, ZIP64
//! where 32 bits don't count them. No I/O.
//!
//! Promise: the same names and sizes give an archive of the length that [`length`] told before.
//! Memory:  a few words and a name for each entry.
//! Absent:  compression: sound doesn't get smaller. Times: the same files give the same archive.

use crc_fast::{CrcAlgorithm::Crc32IsoHdlc, Digest};

/// Where 32 bits, or 16, say to look into the wider field.
const MAX32: u64 = u32::MAX as u64;
const MAX16: u64 = u16::MAX as u64;
/// Sizes follow the bytes; names are UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;
/// The first day that the format knows.
const DATE: u16 = 1 << 5 | 1;
/// A plain file that its owner may write.
const MODE: u32 = 0o100_644 << 16;
const UNIX: u16 = 3 << 8;
const PLAIN: u16 = 20;
const ZIP64: u16 = 45;

/// What is written behind an entry's bytes, and once more at the end.
#[derive(Debug)]
struct Entry {
    name: String,
    crc32: u32,
    size: u64,
    at: u64,
}

/// The archive, as far as it is.
#[derive(Debug, Default)]
pub struct Writer {
    at: u64,
    entries: Vec<Entry>,
    crc32: Option<Digest>,
}

impl Writer {
    /// What precedes an entry's bytes. There will be exactly `size` of them.
    pub fn begin(&mut self, name: &str, size: u64) -> Vec<u8> {
        self.crc32 = Some(Digest::new(Crc32IsoHdlc));
        self.entries.push(Entry { name: name.to_owned(), crc32: 0, size, at: self.at });
        let is_wide = size >= MAX32;
        let mut out = vec![];
        out.extend(0x0403_4b50u32.to_le_bytes());
        let needs = if is_wide { ZIP64 } else { PLAIN };
        shorts(&mut out, &[needs, FLAGS, 0, 0, DATE]);
        let unknown = if is_wide { u32::MAX } else { 0 };
        longs(&mut out, &[0, unknown, unknown]);
        shorts(&mut out, &[name.len() as u16, if is_wide { 20 } else { 0 }]);
        out.extend(name.as_bytes());
        if is_wide {
            // With it the sizes behind the bytes have 64 bits.
            shorts(&mut out, &[1, 16]);
            out.extend([0; 16]);
        }
        self.at += out.len() as u64 + size;
        out
    }

    /// Sees some of its bytes go by.
    pub fn pass(&mut self, bytes: &[u8]) {
        if let Some(crc32) = &mut self.crc32 {
            crc32.update(bytes);
        }
    }

    /// What follows its bytes.
    pub fn end(&mut self) -> Vec<u8> {
        let Some(entry) = self.entries.last_mut() else { return vec![] };
        let crc32 = self.crc32.take().map_or(0, |crc32| crc32.finalize() as u32);
        entry.crc32 = crc32;
        let mut out = vec![];
        longs(&mut out, &[0x0807_4b50, crc32]);
        if entry.size >= MAX32 {
            out.extend([entry.size, entry.size].map(u64::to_le_bytes).concat());
        } else {
            longs(&mut out, &[entry.size as u32, entry.size as u32]);
        }
        self.at += out.len() as u64;
        out
    }

    /// The directory: what follows the last entry.
    pub fn finish(self) -> Vec<u8> {
        let mut out = vec![];
        self.entries.iter().for_each(|entry| listed(&mut out, entry));
        let (count, size, at) = (self.entries.len() as u64, out.len() as u64, self.at);
        if count >= MAX16 || size >= MAX32 || at >= MAX32 {
            let end = at + size;
            longs(&mut out, &[0x0606_4b50]);
            out.extend(44u64.to_le_bytes());
            shorts(&mut out, &[UNIX | ZIP64, ZIP64]);
            longs(&mut out, &[0, 0]);
            out.extend([count, count, size, at].map(u64::to_le_bytes).concat());
            longs(&mut out, &[0x0706_4b50, 0]);
            out.extend(end.to_le_bytes());
            longs(&mut out, &[1]);
        }
        longs(&mut out, &[0x0605_4b50]);
        let count = count.min(MAX16) as u16;
        shorts(&mut out, &[0, 0, count, count]);
        longs(&mut out, &[size.min(MAX32) as u32, at.min(MAX32) as u32]);
        shorts(&mut out, &[0]);
        out
    }
}

/// An entry in the directory.
fn listed(out: &mut Vec<u8>, entry: &Entry) {
    let mut wide = vec![];
    let mut narrow = |value: u64| {
        if value >= MAX32 {
            wide.extend(value.to_le_bytes());
        }
        value.min(MAX32) as u32
    };
    // The order of the wide ones is the format's: size, compressed size, place.
    let sizes = [narrow(entry.size), narrow(entry.size)];
    let at = narrow(entry.at);
    let needs = if wide.is_empty() { PLAIN } else { ZIP64 };
    longs(out, &[0x0201_4b50]);
    shorts(out, &[UNIX | ZIP64, needs, FLAGS, 0, 0, DATE]);
    longs(out, &[entry.crc32, sizes[0], sizes[1]]);
    let extra = if wide.is_empty() { 0 } else { wide.len() as u16 + 4 };
    shorts(out, &[entry.name.len() as u16, extra, 0, 0, 0]);
    longs(out, &[MODE, at]);
    out.extend(entry.name.as_bytes());
    if extra > 0 {
        shorts(out, &[1, wide.len() as u16]);
        out.extend(wide);
    }
}

/// Bytes of the whole archive of entries with these names and sizes.
pub fn length<'a>(entries: impl IntoIterator<Item = (&'a str, u64)>) -> u64 {
    let mut writer = Writer::default();
    for (name, size) in entries {
        writer.begin(name, size);
        writer.end();
    }
    let at = writer.at;
    at + writer.finish().len() as u64
}

fn shorts(out: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn longs(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Seek, SeekFrom, Write},
        process::Command,
    };

    use super::*;

    /// What Python's zipfile says of an archive.
    fn judged(file: &std::path::Path, script: &str) -> String {
        let script = format!("import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n{script}");
        let done = Command::new("python3").args(["-c", &script]).arg(file).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn more_entries_than_sixteen_bits_count() {
        let mut writer = Writer::default();
        let mut whole = vec![];
        let names: Vec<String> = (0..66_000).map(|n| format!("{n} é.txt")).collect();
        for name in &names {
            whole.extend(writer.begin(name, 1));
            whole.push(b'a');
            writer.pass(b"a");
            whole.extend(writer.end());
        }
        whole.extend(writer.finish());
        assert_eq!(whole.len() as u64, length(names.iter().map(|name| (name.as_str(), 1))));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&whole).unwrap();
        let said = judged(file.path(), "print(len(z.infolist()), z.testzip(), z.read('65999 é.txt'))");
        assert_eq!(said, "66000 None b'a'");
    }

    #[test]
    fn more_bytes_than_thirty_two_bits_count() {
        // Holes stand for the bytes: the file takes no room.
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut to = File::create(file.path()).unwrap();
        let mut writer = Writer::default();
        let sizes = [5 << 30, MAX32 - 1, MAX32, 3];
        let names = ["1 large.wav", "2 just.wav", "3 not just.wav", "4 behind.txt"];
        for (name, size) in names.into_iter().zip(sizes) {
            to.write_all(&writer.begin(name, size)).unwrap();
            to.seek(SeekFrom::Current(size as i64)).unwrap();
            if size == 3 {
                writer.pass(&[0; 3]);
            }
            to.write_all(&writer.end()).unwrap();
        }
        to.write_all(&writer.finish()).unwrap();
        let len = to.metadata().unwrap().len();
        assert_eq!(len, length(names.into_iter().zip(sizes)));
        let said = judged(file.path(), "print([i.file_size for i in z.infolist()], z.read('4 behind.txt'))");
        assert_eq!(said, format!("{sizes:?} b'\\x00\\x00\\x00'"));
    }

    #[test]
    fn nothing_is_an_archive_too() {
        assert_eq!(Writer::default().finish().len(), 22);
        assert_eq!(length([]), 22);
    }
}
