//! The few calls into libav that the safe bindings lack. Nothing here decides anything.
#![expect(unsafe_code, reason = "the bindings have no safe form of these calls")]

use std::ffi::{CStr, CString, c_int};
use std::ptr;

use ffmpeg_next::format::context::{Input, Output, StreamIo};
use ffmpeg_next::{Dictionary, Error, ffi};

use super::Trouble;
use super::source::Feeder;
use crate::media::Tag;
use crate::media::failure::Code;

/// What libavformat reads at once.
const IO_BUFFER_BYTES: usize = 32 * 1024;

/// Stops libav from writing log lines: its own writer asks the terminal, which the filter forbids. Errors get words.
pub(super) fn silence() {
    ffmpeg_next::util::error::register_all();
    // SAFETY: a null callback is libav's documented way to log nothing; no other thread is in libav yet.
    unsafe { ffi::av_log_set_callback(None) }
}

pub(super) fn codec_version() -> String {
    // SAFETY: returns a constant.
    dotted(unsafe { ffi::avcodec_version() })
}

pub(super) fn format_version() -> String {
    // SAFETY: returns a constant.
    dotted(unsafe { ffi::avformat_version() })
}

fn dotted(version: u32) -> String {
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// What a coder's error means.
pub(super) fn trouble(what: &str, error: Error) -> Trouble {
    let code = if error == (Error::Other { errno: libc::ENOMEM }) { Code::WorkerMemory } else { Code::WorkerCrashed };
    Trouble::Refused(code, format!("encoding {what}: {error}"))
}

/// Opens a source with one demuxer and no guessing.
pub(super) fn open(source: Feeder, can_seek: bool, demuxer: &str, options: Dictionary<'_>) -> Result<Input, Error> {
    let name = CString::new(demuxer).map_err(|_| Error::DemuxerNotFound)?;
    let mut io = if can_seek {
        StreamIo::from_read_seek_with_capacity(source, IO_BUFFER_BYTES)?
    } else {
        StreamIo::from_read_with_capacity(source, IO_BUFFER_BYTES)?
    };
    // SAFETY: the name is NUL-terminated; the format is a constant of the library, or null.
    let format = unsafe { ffi::av_find_input_format(name.as_ptr()) };
    if format.is_null() {
        return Err(Error::DemuxerNotFound);
    }
    // SAFETY: the context is checked for null and owns nothing of ours but `pb`, which lives in `io`; after success
    // `io` moves into the wrapper that closes the context first. On failure libav frees the context and leaves `pb`
    // alone (custom I/O), and `io` is dropped here. The dictionary is given away and its rest taken back.
    unsafe {
        let mut context = ffi::avformat_alloc_context();
        if context.is_null() {
            return Err(Error::Other { errno: libc::ENOMEM });
        }
        (*context).pb = io.as_mut_ptr();
        (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
        let mut rest = options.disown();
        let opened = ffi::avformat_open_input(&raw mut context, ptr::null(), format, &raw mut rest);
        drop(Dictionary::own(rest));
        if opened < 0 {
            return Err(Error::from(opened));
        }
        Ok(Input::wrap_with_custom_io(context, io))
    }
}

/// Tells the demuxer to skip every stream but one.
pub(super) fn discard_others(input: &mut Input, keep: usize) {
    // SAFETY: `streams` holds `nb_streams` valid pointers as long as the context lives.
    unsafe {
        let context = input.as_mut_ptr();
        for index in (0..(*context).nb_streams as usize).filter(|index| *index != keep) {
            (**(*context).streams.add(index)).discard = ffi::AVDiscard::AVDISCARD_ALL;
        }
    }
}

/// The metadata of container and stream. The bindings' own iterator takes any bytes for UTF-8.
pub(super) fn tags(input: &Input, stream: usize) -> Vec<Tag> {
    let mut out = vec![];
    // SAFETY: `stream` is an index that the safe side got from this context; entries and their strings belong to the
    // dictionary, which outlives the loop.
    unsafe {
        let context = input.as_ptr();
        for dictionary in [(*context).metadata, (**(*context).streams.add(stream)).metadata] {
            let mut entry: *const ffi::AVDictionaryEntry = ptr::null();
            loop {
                entry = ffi::av_dict_get(dictionary, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX as c_int);
                if entry.is_null() {
                    break;
                }
                let text = |from| CStr::from_ptr(from).to_string_lossy().into_owned();
                out.push((text((*entry).key).to_lowercase(), text((*entry).value)));
            }
        }
    }
    out
}

/// The bytes of the file's picture, the front of the cover where the file says which that is; empty where there is none, or
/// none of at most `most` bytes. Every picture's memory is let go of: nobody will ask libav for it again.
pub(super) fn take_picture(input: &mut Input, most: usize) -> Vec<u8> {
    let mut best = (false, vec![]);
    // SAFETY: `streams` holds `nb_streams` valid pointers as long as the context lives; a packet's data is as long as its
    // size says. Unreferenced packets stay valid and empty, and the context frees them once more, which does nothing.
    unsafe {
        let context = input.as_mut_ptr();
        for index in 0..(*context).nb_streams as usize {
            let stream = *(*context).streams.add(index);
            if (*stream).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC as c_int == 0 {
                continue;
            }
            let packet = &raw mut (*stream).attached_pic;
            let size = usize::try_from((*packet).size).unwrap_or(0);
            let of = ffi::av_dict_get((*stream).metadata, c"comment".as_ptr(), ptr::null(), 0);
            let is_front = !of.is_null() && CStr::from_ptr((*of).value) == c"Cover (front)";
            if !(*packet).data.is_null() && (1..=most).contains(&size) && (best.1.is_empty() || is_front && !best.0) {
                best = (is_front, std::slice::from_raw_parts((*packet).data, size).to_vec());
            }
            ffi::av_packet_unref(packet);
        }
    }
    best.1
}

/// Samples that an encoder puts before the first of the source.
pub(super) fn initial_padding(encoder: &ffmpeg_next::codec::Context) -> u32 {
    // SAFETY: reads one field of a live context.
    unsafe { (*encoder.as_ptr()).initial_padding }.max(0).cast_unsigned()
}

/// Makes the muxer write what it holds: first the init, then a segment.
pub(super) fn flush(output: &mut Output) -> Result<(), Error> {
    // SAFETY: a null packet is the documented request to flush; `pb` was set when the context was made.
    unsafe {
        let context = output.as_mut_ptr();
        let written = ffi::av_write_frame(context, ptr::null_mut());
        if written < 0 {
            return Err(Error::from(written));
        }
        ffi::avio_flush((*context).pb);
    }
    Ok(())
}

/// Hands on what libavformat still holds of bytes already written.
pub(super) fn flush_bytes(output: &mut Output) {
    // SAFETY: `pb` was set when the context was made.
    unsafe { ffi::avio_flush((*output.as_mut_ptr()).pb) }
}

/// Bits per sample that carry sound, as the decoder says; 0 if it doesn't.
pub(super) fn bits_per_raw_sample(decoder: &ffmpeg_next::codec::Context) -> u16 {
    // SAFETY: reads one field of a live context.
    u16::try_from(unsafe { (*decoder.as_ptr()).bits_per_raw_sample }).unwrap_or(0)
}
