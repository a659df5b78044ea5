//! Files as people have them: with a date, a picture, chapters, chunks of other programs, a film around the sound. None of it
//! is audio, and none of it changes a sample.

use super::support::*;

/// No multiple of any frame length.
const SAMPLES: usize = 88_301;

fn sound() -> Vec<i16> {
    s16(&tones(44_100, SAMPLES))
}

/// Chapters and tags as FFmpeg reads them.
const CHAPTERS: &str = ";FFMETADATA1\ntitle=Über alles\nartist=Somebody\ndate=2026\ncreation_time=2026-02-03T04:05:06Z\n\
    lyrics=la\\\nla\\\nla\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=900\nEND=2000\ntitle=Two\n";

/// With chapters and tags, and with a picture of that codec if the format takes one.
fn dressed(name: &str, encode: &[&str], picture: Option<&str>) -> Vec<u8> {
    let folder = tempfile::TempDir::new().unwrap();
    let chapters = write(folder.path(), "chapters", CHAPTERS.as_bytes());
    let mut after = vec!["-i", chapters.to_str().unwrap()];
    if picture.is_some() {
        after.extend(["-f", "lavfi", "-i", "testsrc=s=1400x1400:d=1"]);
    }
    after.extend(["-map", "0:a", "-map_metadata", "1", "-map_chapters", "1"]);
    if let Some(codec) = picture {
        after.extend(["-map", "2:v", "-frames:v", "1", "-c:v", codec, "-disposition:v", "attached_pic"]);
    }
    after.extend(encode);
    ffmpeg(&wav(CD, &le16(&sound())), &[], &after, name)
}

/// Decodes it both ways; every sample is there, at its place.
async fn plays(name: &str, file: &[u8]) {
    for ranges in [false, true] {
        let outcome = if ranges { run_ranges(file).await } else { run(order(), file).await };
        assert_eq!(outcome.failed, None, "{name}, by ranges: {ranges}");
        assert_eq!(outcome.samples(), SAMPLES as u64, "{name}, by ranges: {ranges}");
        assert_on_the_grid(&outcome);
        assert_eq!(lag(&sound(), &decoded(&outcome.rung(0))), 0, "{name}, by ranges: {ranges}");
    }
}

#[tokio::test]
async fn m4a_with_all_that_a_shop_puts_in() {
    for codec in ["aac", "alac"] {
        let file = dressed("a.m4a", &["-c:a", codec, "-movflags", "+faststart"], Some("mjpeg"));
        plays(&format!("m4a, {codec}"), &file).await;
    }
}

#[tokio::test]
async fn m4a_with_all_that_and_the_index_last() {
    let outcome = run_ranges(&dressed("a.m4a", &["-c:a", "aac"], Some("png"))).await;
    assert_eq!((outcome.samples(), outcome.failed), (SAMPLES as u64, None));
}

#[tokio::test]
async fn flac_with_a_picture_and_a_foreign_tag_in_front() {
    let file = dressed("a.flac", &[], Some("png"));
    plays("flac", &file).await;
    plays("flac behind ID3", &[&id3(3000)[..], &file].concat()).await;
}

#[tokio::test]
async fn mp3_with_a_picture_and_chapters() {
    plays("mp3", &dressed("a.mp3", &["-c:a", "libmp3lame", "-id3v2_version", "3"], Some("mjpeg"))).await;
}

#[tokio::test]
async fn aiff_with_a_picture() {
    plays("aiff", &dressed("a.aiff", &["-write_id3v2", "1"], Some("png"))).await;
}

#[tokio::test]
async fn wavpack_with_its_tags() {
    plays("wavpack", &dressed("a.wv", &["-c:a", "wavpack"], None)).await;
}

#[tokio::test]
async fn ogg_with_a_comment_of_many_pages() {
    let long = format!("comment={}", "word ".repeat(20_000));
    for (name, codec) in [("a.ogg", "libvorbis"), ("b.ogg", "flac")] {
        plays(name, &dressed(name, &["-c:a", codec, "-metadata", &long], None)).await;
    }
}

#[tokio::test]
async fn matroska_with_a_picture_and_chapters() {
    plays("mka", &dressed("a.mka", &["-c:a", "flac"], Some("mjpeg"))).await;
}

#[tokio::test]
async fn wav_with_the_chunks_of_a_studio() {
    let file = dressed("a.wav", &["-write_bext", "1", "-metadata", "description=D", "-metadata", "originator=O"], None);
    plays("bext", &file).await;
    // Chunks of odd length before the audio, and one behind it.
    let plain = wav(CD, &le16(&sound()));
    let (head, data) = plain.split_at(36);
    let chunk = |name: &[u8], body: &[u8]| {
        let pad = &[0][..body.len() % 2];
        [name, &u32::try_from(body.len()).unwrap().to_le_bytes()[..], body, pad].concat()
    };
    let (ixml, cue, id3) = (chunk(b"iXML", b"<BWFXML/>"), chunk(b"cue ", &[0; 4]), chunk(b"id3 ", &id3(77)));
    let mut studio = [head, &chunk(b"JUNK", &[0; 27]), &ixml, &cue, data, &id3].concat();
    let size = u32::try_from(studio.len() - 8).unwrap();
    studio[4..8].copy_from_slice(&size.to_le_bytes());
    plays("chunks", &studio).await;
}

#[tokio::test]
async fn the_sound_of_a_film() {
    let film = ["-f", "lavfi", "-i", "testsrc=s=320x180:d=2", "-map", "1:v", "-map", "0:a", "-c:v", "mpeg4"];
    for (name, codec) in [("a.mov", "pcm_s24be"), ("a.mp4", "aac"), ("a.mkv", "flac")] {
        let encode = [&film[..], &["-c:a", codec, "-timecode", "01:00:00:00", "-movflags", "+faststart"]].concat();
        plays(name, &ffmpeg(&wav(CD, &le16(&sound())), &[], &encode, name)).await;
    }
}

/// An ID3v2.3 tag of so many bytes of padding.
fn id3(bytes: usize) -> Vec<u8> {
    let size = [bytes >> 21, bytes >> 14, bytes >> 7, bytes].map(|part| (part & 0x7f) as u8);
    [&b"ID3\x03\0\0"[..], &size, &vec![0; bytes]].concat()
}
