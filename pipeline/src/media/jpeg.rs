//! Whether bytes are a JPEG as the worker's own encoder writes them. Pure.
//!
//! Promise: nothing but tables, one baseline frame and its scan; so no metadata, no second picture, no program's remarks.
//! Absent: decoding. What the scan holds is the browser's to show.

/// Width and height; `None` when it isn't such a file.
pub(crate) fn dimensions(file: &[u8]) -> Option<(u16, u16)> {
    let mut rest = file.strip_prefix(&[0xff, 0xd8])?.strip_suffix(&[0xff, 0xd9])?;
    let mut found = None;
    loop {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        let [0xff, marker, high, low] = *head else { return None };
        let (body, next) = tail.split_at_checked(usize::from(u16::from_be_bytes([high, low])).checked_sub(2)?)?;
        match marker {
            // JFIF's head, without its thumbnail.
            0xe0 if body.len() == 14 && body.starts_with(b"JFIF\0") => {}
            // Tables of quantisation and of codes.
            0xdb | 0xc4 => {}
            0xc0 if found.is_none() => {
                let &[8, h1, h0, w1, w0, 1 | 3, ..] = body else { return None };
                let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                found = Some((width, height)).filter(|(w, h)| *w > 0 && *h > 0);
            }
            0xda => return found.filter(|_| is_scan(next)),
            _ => return None,
        }
        rest = next;
    }
}

/// In a scan a marker stands for nothing but itself or a restart.
fn is_scan(data: &[u8]) -> bool {
    !data.is_empty() && data.windows(2).all(|pair| pair[0] != 0xff || matches!(pair[1], 0 | 0xd0..=0xd7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made() -> Vec<u8> {
        let mut file = vec![];
        let picture = image::RgbImage::from_fn(30, 20, |x, y| image::Rgb([x as u8 * 8, y as u8 * 9, 3]));
        picture.write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 85)).unwrap();
        file
    }

    #[test]
    fn what_the_encoder_writes_is_known_and_nothing_else() {
        let file = made();
        assert_eq!(dimensions(&file), Some((30, 20)));
        assert_eq!(dimensions(&file[..file.len() - 2]), None, "cut short");
        let remark = [&file[..2], &[0xff, 0xfe, 0, 4, b'h', b'i'], &file[2..]].concat();
        assert_eq!(dimensions(&remark), None, "a remark");
        assert_eq!(dimensions(&[&file[..], &file[..]].concat()), None, "two of them");
        assert_eq!(dimensions(b"\x89PNG\r\n\x1a\n"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at in 0..700usize, byte: u8, bytes: Vec<u8>) {
            let mut file = made();
            let at = at % file.len();
            file[at] = byte;
            let _ = (dimensions(&file), dimensions(&bytes));
        }
    }
}
