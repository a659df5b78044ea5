//! Sound made by code: the same bytes every time, nothing binary in the repository.

/// 16-bit stereo WAV: two tones and a little noise, with a pulse every half second of 44.1 kHz.
pub fn wav(samples: u32, rate: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let frames = (0..samples).flat_map(|i| {
        let t = f64::from(i) / f64::from(rate) * std::f64::consts::TAU;
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = f64::from(state >> 16) / 65_536.0 - 0.5;
        let pulse = if i % 22_050 == 0 { 0.5 } else { 0.0 };
        let left = 0.25 * (t * 440.0).sin() + 0.02 * noise + pulse;
        let right = 0.25 * (t * 554.37).sin() + 0.02 * noise + pulse;
        [left, right].map(|s| ((s * 32_767.0) as i16).to_le_bytes()).concat()
    });
    let data: Vec<u8> = frames.collect();
    let mut wav = Vec::with_capacity(data.len() + 44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + data.len() as u32).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend_from_slice(&rate.to_le_bytes());
    wav.extend_from_slice(&(rate * 4).to_le_bytes());
    wav.extend_from_slice(b"\x04\0\x10\0data");
    wav.extend_from_slice(&(data.len() as u32).to_le_bytes());
    wav.extend_from_slice(&data);
    wav
}

/// Bytes that are no sound, different for every seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
