//! Pictures in files: whatever the container, whatever the picture, and never at the cost of the sound.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use pipeline::media::{Order, WorkerLimits};

use super::support::*;

/// A cover with a corner that tells up from down.
pub(crate) fn cover(width: u32, height: u32) -> DynamicImage {
    RgbImage::from_fn(width, height, |x, y| {
        let is_corner = x < width / 4 && y < height / 4;
        if is_corner { Rgb([250, 20, 20]) } else { Rgb([20, (60 + x * 100 / width) as u8, 200]) }
    })
    .into()
}

pub(crate) fn written(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(vec![]);
    picture.write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A FLAC `PICTURE` block, which Ogg carries too: of the front, without a word about its size.
fn block(mime: &str, picture: &[u8]) -> Vec<u8> {
    let word = |n: usize| (n as u32).to_be_bytes();
    let mut block =
        [&word(3), &word(mime.len())[..], mime.as_bytes(), &word(0), &[0; 16], &word(picture.len())].concat();
    block.extend(picture);
    block
}

/// A FLAC file with that picture in front of its sound.
pub(crate) fn flac(sound: &[u8], mime: &str, picture: &[u8]) -> Vec<u8> {
    let plain = ffmpeg(sound, &[], &["-metadata", "title=Low tide", "-metadata", "artist=Ada"], "a.flac");
    let block = block(mime, picture);
    // "fLaC", then STREAMINFO: four bytes of head and 34 of body.
    let (head, rest) = plain.split_at(42);
    let length = (block.len() as u32).to_be_bytes();
    [head, &[6], &length[1..], &block, rest].concat()
}

/// The same with the file that FFmpeg writes.
fn dressed(name: &str, picture: &[u8], more: &[&str]) -> Vec<u8> {
    let folder = tempfile::TempDir::new().unwrap();
    let path = write(folder.path(), "cover", picture);
    let maps = ["-map", "0:a", "-map", "1:v", "-c:v", "copy", "-disposition:v:0", "attached_pic"];
    ffmpeg(&song(1.0), &[], &[&["-i", path.to_str().unwrap()], &maps[..], more].concat(), name)
}

fn shown(outcome: &Outcome) -> Vec<RgbImage> {
    assert!(outcome.samples() > 0);
    let read = |(width, height, jpeg): &(u32, u32, bytes::Bytes)| {
        let picture = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg).unwrap().to_rgb8();
        assert_eq!((picture.width(), picture.height()), (*width, *height));
        picture
    };
    outcome.pictures.iter().map(read).collect()
}

fn is_like(picture: &RgbImage, corner: (f64, f64), colour: [i32; 3]) -> bool {
    let at = |share: f64, length: u32| (share * f64::from(length)) as u32;
    let pixel = picture.get_pixel(at(corner.0, picture.width()), at(corner.1, picture.height()));
    pixel.0.iter().zip(colour).all(|(is, was)| (i32::from(*is) - was).abs() < 24)
}

#[tokio::test]
async fn a_cover_comes_in_three_sizes_out_of_every_container() {
    let jpeg = written(&cover(1600, 1600), ImageFormat::Jpeg);
    let png = written(&cover(1600, 1200), ImageFormat::Png);
    let webp = written(&cover(1300, 1300), ImageFormat::WebP);
    let in_ogg = format!("METADATA_BLOCK_PICTURE={}", STANDARD.encode(block("image/png", &png)));
    let first = ["-movflags", "+faststart"];
    for (file, square) in [
        (flac(&song(1.0), "image/jpeg", &jpeg), true),
        (flac(&song(1.0), "image/jpeg", &webp), true), // this libav knows no name for it
        (flac(&song(1.0), "image/gif", &png), false),  // nor does what it is called count
        (dressed("a.mp3", &png, &["-id3v2_version", "3"]), false),
        (dressed("a.m4a", &jpeg, &[&["-c:a", "aac"], &first[..]].concat()), true),
        (ffmpeg(&song(1.0), &[], &["-c:a", "libopus", "-metadata", &in_ogg], "a.opus"), false),
    ] {
        let pictures = shown(&run(order(), &file).await);
        let sizes: Vec<_> = pictures.iter().map(|p| (p.width(), p.height())).collect();
        let wanted = [1200, 600, 150].map(|side| (side, if square { side } else { side * 3 / 4 }));
        assert!(sizes.iter().zip(wanted).all(|(is, was)| is.0 == was.0 && is.1.abs_diff(was.1) <= 1), "{sizes:?}");
        assert_eq!(sizes.len(), 3);
        for picture in pictures {
            assert!(is_like(&picture, (0.1, 0.1), [250, 20, 20]) && is_like(&picture, (0.5, 0.5), [20, 110, 200]));
        }
    }
}

#[tokio::test]
async fn a_small_cover_is_not_made_larger_and_one_to_see_through_is_on_white() {
    let mut glass = RgbaImage::from_pixel(400, 200, Rgba([0, 0, 0, 0]));
    (0..100).for_each(|x| (0..100).for_each(|y| glass.put_pixel(x, y, Rgba([250, 20, 20, 255]))));
    let file = flac(&song(1.0), "image/png", &written(&glass.into(), ImageFormat::Png));
    let pictures = shown(&run(order(), &file).await);
    assert_eq!(pictures.iter().map(|p| (p.width(), p.height())).collect::<Vec<_>>(), [(400, 200), (150, 75)]);
    assert!(is_like(&pictures[0], (0.1, 0.1), [250, 20, 20]) && is_like(&pictures[0], (0.9, 0.9), [255; 3]));
}

#[tokio::test]
async fn a_camera_s_turn_is_made_and_its_remarks_are_gone() {
    let jpeg = written(&cover(800, 400), ImageFormat::Jpeg);
    // An APP1 with EXIF: orientation 6, "turn a quarter to the right", and a word that mustn't come out.
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0secret place";
    let exif = [b"Exif\0\0", &tiff[..]].concat();
    let marked = [&jpeg[..2], &[0xff, 0xe1], &(exif.len() as u16 + 2).to_be_bytes(), &exif, &jpeg[2..]].concat();
    let outcome = run(order(), &flac(&song(1.0), "image/jpeg", &marked)).await;
    let pictures = shown(&outcome);
    assert_eq!((pictures[0].width(), pictures[0].height()), (400, 800));
    assert!(is_like(&pictures[0], (0.9, 0.1), [250, 20, 20]), "its corner is at the right now");
    for (.., jpeg) in &outcome.pictures {
        assert!(!jpeg.windows(6).any(|bytes| bytes == b"secret") && !jpeg.windows(4).any(|bytes| bytes == b"Exif"));
    }
}

#[tokio::test]
async fn what_is_no_bearable_picture_is_none_and_the_track_is_whole() {
    let png = written(&cover(300, 300), ImageFormat::Png);
    let mut claims = png.clone();
    claims[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]); // IHDR: 65535 by 65535
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, &claims[12..29]) as u32;
    claims[29..33].copy_from_slice(&crc.to_be_bytes());
    let mut large = png.clone();
    large.resize(11 << 20, 0);
    let jpeg = written(&cover(300, 300), ImageFormat::Jpeg);
    for (what, picture) in [
        ("a bomb", claims),
        ("more than ten mebibytes", large),
        ("cut short", png[..png.len() / 2].to_vec()),
        ("a gif", b"GIF89a\x01\0\x01\0\0\0\0;".to_vec()),
        ("a drawing", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>".to_vec()),
        ("a head alone", jpeg[..30].to_vec()),
        ("nothing", vec![]),
    ] {
        let outcome = run(order(), &flac(&song(1.0), "image/png", &picture)).await;
        assert_eq!((outcome.samples(), outcome.pictures.len()), (44_100, 0), "{what}");
    }
}

#[tokio::test]
async fn a_picture_that_kills_the_worker_costs_nothing_but_itself() {
    // As large as may be, and eight bytes a pixel: more than this worker may have.
    let giant: ImageBuffer<Rgba<u16>, _> = ImageBuffer::from_pixel(4096, 4096, Rgba([500, 9000, 300, u16::MAX]));
    let file = flac(&song(1.0), "image/png", &written(&giant.into(), ImageFormat::Png));
    let limits = WorkerLimits { data_bytes: 100 << 20, ..WorkerLimits::default() };
    let outcome = run(Order { limits, ..order() }, &file).await;
    assert_eq!((outcome.samples(), outcome.pictures.len()), (44_100, 0));
    assert_on_the_grid(&outcome);
    let roomy = run(order(), &file).await;
    assert_eq!((roomy.samples(), roomy.pictures.len()), (44_100, 3), "with the usual memory it is read");
}
