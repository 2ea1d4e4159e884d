//! MD5 with its state in sight, for nothing but CRAM-MD5: what is kept of a password are the states of HMAC after the
//! key was taken in (row AU-03), and those no library gives out.
//!
//! Law: RFC 1321 §3, RFC 2104 §2.
//! Does not know: that MD5 is broken as a hash; HMAC-MD5 as a proof of a secret is not.

/// The four words.
pub(crate) type State = [u32; 4];

const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

fn compress(state: &mut State, block: &[u8; 64]) {
    let mut words = [0; 16];
    for (word, octets) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = octets.iter().rev().fold(0, |sum, octet| sum << 8 | u32::from(*octet));
    }
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64 {
        let (mixed, at) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), (7 * step) % 16),
        };
        let sum = a.wrapping_add(mixed).wrapping_add(SINES[step]).wrapping_add(words[at]);
        a = d;
        d = c;
        c = b;
        b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
    }
    for (word, more) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(more);
    }
}

/// Goes on from a state that has taken in `before` octets, whole blocks.
fn finish(mut state: State, before: u64, message: &[u8]) -> [u8; 16] {
    let bits = (before + message.len() as u64).wrapping_mul(8);
    let mut rest = message.to_vec();
    rest.push(0x80);
    while rest.len() % 64 != 56 {
        rest.push(0);
    }
    rest.extend_from_slice(&bits.to_le_bytes());
    let (blocks, _) = rest.as_chunks();
    blocks.iter().for_each(|block| compress(&mut state, block));
    let mut out = [0; 16];
    for (octets, word) in out.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_le_bytes());
    }
    out
}

/// The states of HMAC once the key is in: inner, outer.
pub(crate) fn keyed(key: &[u8]) -> (State, State) {
    let mut padded = [0; 64];
    if key.len() > 64 {
        padded[..16].copy_from_slice(&finish(START, 0, key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let begun = |pad: u8| {
        let mut state = START;
        compress(&mut state, &padded.map(|octet| octet ^ pad));
        state
    };
    (begun(0x36), begun(0x5c))
}

/// The code of a message.
pub(crate) fn authenticate(inner: State, outer: State, message: &[u8]) -> [u8; 16] {
    finish(outer, 64, &finish(inner, 64, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn md5_as_the_rfcs_have_it() {
        // RFC 1321 appendix A.5.
        for (text, want) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex(&finish(START, 0, text.as_bytes())), want, "{text}");
        }
        // RFC 2104, test vectors of the appendix; RFC 2202 §2 for a key longer than a block.
        let code = |key: &[u8], message: &[u8]| {
            let (inner, outer) = keyed(key);
            hex(&authenticate(inner, outer, message))
        };
        assert_eq!(code(&[0x0b; 16], b"Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(code(b"Jefe", b"what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
        assert_eq!(
            code(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First"),
            "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"
        );
    }
}
