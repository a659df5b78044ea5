//! The picture in a file: read with bounds, made small, written anew.
//!
//! After the ladder, so that no sound waits for it and what the encoders held is free. The daemon has heard `Done` by then:
//! whatever ends the worker in here costs the picture and nothing else.
//! Promise: width and height are known, and bearable, before a pixel is; what was not a pixel (EXIF, a place, a thumbnail)
//! is gone. Absent: libav, which sees no picture's bytes but to pass them on.

use std::io::Cursor;
use std::sync::Mutex;

use image::codecs::{jpeg, png, webp};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, Limits, Rgb, RgbImage};

use super::Trouble;
use super::link::{self, Outlet};
use crate::media::limits::{PICTURE_DECODED_BYTES, PICTURE_PIXELS, PICTURE_QUALITY, PICTURE_SENT_BYTES, PICTURE_SIDES};
use crate::media::wire::Kind;

/// Sends the picture in each size that it has, the largest first. One that can't be read is no picture.
pub(super) fn send(outlet: &Mutex<Outlet>, file: Vec<u8>) -> Result<(), Trouble> {
    let Some((picture, orientation)) = decode(&file) else { return Ok(()) };
    drop(file);
    let mut source = picture;
    let mut sent = 0;
    for side in PICTURE_SIDES {
        let (width, height) = fitted(source.width(), source.height(), side);
        if sent > 0 && (width, height) == (source.width(), source.height()) {
            continue;
        }
        // Of the size before, not of the source: a quarter of its pixels, and the large buffer is gone.
        source = match sent {
            0 => oriented(&source.thumbnail_exact(width, height), orientation),
            _ => source.thumbnail_exact(width, height),
        };
        let Some(jpeg) = encode(&source) else { return Ok(()) };
        link::send(outlet, Kind::Picture, 0, sent, &jpeg)?;
        sent += 1;
    }
    Ok(())
}

/// By its first bytes; what the container calls it doesn't count.
fn decode(file: &[u8]) -> Option<(DynamicImage, Orientation)> {
    match file {
        [0xff, 0xd8, 0xff, ..] => pixels(jpeg::JpegDecoder::new(Cursor::new(file)).ok()?),
        [0x89, b'P', b'N', b'G', ..] => pixels(png::PngDecoder::with_limits(Cursor::new(file), bounds()).ok()?),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            pixels(webp::WebPDecoder::new(Cursor::new(file)).ok()?)
        }
        _ => None,
    }
}

fn bounds() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(PICTURE_DECODED_BYTES);
    limits
}

fn pixels(mut decoder: impl ImageDecoder) -> Option<(DynamicImage, Orientation)> {
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 || u64::from(width) * u64::from(height) > PICTURE_PIXELS {
        return None;
    }
    decoder.set_limits(bounds()).ok()?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    Some((DynamicImage::from_decoder(decoder).ok()?, orientation))
}

/// The same shape within a square; never larger than it was.
fn fitted(width: u32, height: u32, side: u32) -> (u32, u32) {
    let longest = width.max(height);
    if longest <= side {
        return (width, height);
    }
    let scaled =
        |length: u32| ((u64::from(length) * u64::from(side) + u64::from(longest) / 2) / u64::from(longest)).max(1);
    (scaled(width) as u32, scaled(height) as u32)
}

/// As it is to be seen: turned as a camera said, and on white where one could see through it.
fn oriented(picture: &DynamicImage, orientation: Orientation) -> DynamicImage {
    let mut flat = if picture.color().has_alpha() {
        let over = |c: u8, a: u8| ((u32::from(c) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
        let seen = picture.to_rgba8();
        let pixel = |x, y| seen.get_pixel(x, y).0;
        DynamicImage::from(RgbImage::from_fn(seen.width(), seen.height(), |x, y| {
            let [r, g, b, a] = pixel(x, y);
            Rgb([over(r, a), over(g, a), over(b, a)])
        }))
    } else {
        DynamicImage::from(picture.to_rgb8())
    };
    flat.apply_orientation(orientation);
    flat
}

fn encode(picture: &DynamicImage) -> Option<Vec<u8>> {
    let mut file = vec![];
    picture.write_with_encoder(jpeg::JpegEncoder::new_with_quality(&mut file, PICTURE_QUALITY)).ok()?;
    (file.len() <= PICTURE_SENT_BYTES as usize).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_fits_into_its_square() {
        for (from, side, to) in [
            ((3000, 3000), 1200, (1200, 1200)),
            ((3000, 1000), 600, (600, 200)),
            ((1, 65_535), 150, (1, 150)),
            ((80, 60), 150, (80, 60)),
        ] {
            assert_eq!(fitted(from.0, from.1, side), to, "{from:?}");
        }
    }
}
