//! The Huffman code of RFC 7541 appendix B, decoded. It is never written: a literal that repeats
//! enters the table and costs a byte from then on, and one that does not is cheaper to read as it is.

/// Lengths of the codes of all octets and of the end. The code is canonical, so that these say
/// all: codes of one length follow one another in the order of what they stand for.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6,
    6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6,
    6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22,
    20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23,
    22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22,
    23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22,
    25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The longest code, bits.
const LONGEST: usize = 30;
/// Bits that are looked up at once: all octets that text is made of have codes this short.
const FAST: usize = 9;
/// The end, which never appears.
const END: u16 = 256;

const TABLES: Tables = Tables::new();

/// The code, as it is decoded.
struct Tables {
    /// By the next `FAST` bits: the octet and the length of its code; 0 if that is longer.
    fast: [(u8, u8); 1 << FAST],
    /// By length: the first code that is longer, filled up to `LONGEST` bits.
    limit: [u32; LONGEST + 1],
    /// By length: the first code, and where what it stands for is in `symbols`.
    first: [(u32, u16); LONGEST + 1],
    /// What the codes stand for, in their order.
    symbols: [u16; 257],
}

impl Tables {
    const fn new() -> Self {
        let mut tables = Self {
            fast: [(0, 0); 1 << FAST],
            limit: [0; LONGEST + 1],
            first: [(0, 0); LONGEST + 1],
            symbols: [0; 257],
        };
        let (mut code, mut place, mut length) = (0_u32, 0, 1);
        while length <= LONGEST {
            code <<= 1;
            tables.first[length] = (code, place as u16);
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    tables.symbols[place] = symbol as u16;
                    place += 1;
                    if length <= FAST {
                        let from = (code as usize) << (FAST - length);
                        let mut at = from;
                        while at < from + (1 << (FAST - length)) {
                            tables.fast[at] = (symbol as u8, length as u8);
                            at += 1;
                        }
                    }
                    code += 1;
                }
                symbol += 1;
            }
            tables.limit[length] = code << (LONGEST - length);
            length += 1;
        }
        tables
    }
}

/// Appends what `coded` stands for. None if it is no text in this code.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let tables = &TABLES;
    let (mut bits, mut held) = (0_u64, 0_usize);
    let mut coded = coded.iter();
    loop {
        while held <= 56
            && let Some(octet) = coded.next()
        {
            bits |= u64::from(*octet) << (56 - held);
            held += 8;
        }
        if held == 0 {
            return Some(());
        }
        let (octet, length) = tables.fast[(bits >> (64 - FAST)) as usize];
        let mut length = usize::from(length);
        if length > 0 && length <= held {
            out.push(octet);
        } else {
            // Fewer bits than a code are left: RFC 7541 section 5.2, padding is the beginning of
            // the end's code, which is all ones.
            if held < 8 && bits == u64::MAX << (64 - held) {
                return Some(());
            }
            let next = (bits >> (64 - LONGEST)) as u32;
            length = FAST + 1;
            while length <= LONGEST && next >= tables.limit[length] {
                length += 1;
            }
            if length > LONGEST || length > held {
                return None;
            }
            let (first, place) = tables.first[length];
            let place = usize::from(place) + ((next >> (LONGEST - length)) - first) as usize;
            let symbol = tables.symbols[place];
            if symbol == END {
                return None;
            }
            out.push(symbol as u8);
        }
        bits <<= length;
        held -= length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes text in the code, to be read again.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut codes = [(0_u32, 0_u8); 257];
        let mut code = 0;
        for length in 1..=LONGEST {
            code <<= 1;
            for (symbol, of) in LENGTHS.iter().enumerate() {
                if usize::from(*of) == length {
                    codes[symbol] = (code, *of);
                    code += 1;
                }
            }
        }
        let mut bits = String::new();
        for octet in text {
            let (code, length) = codes[usize::from(*octet)];
            bits.push_str(&format!("{code:0width$b}", width = usize::from(length)));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let octets = bits.as_bytes().chunks(8);
        octets
            .map(|eight| {
                let text = std::str::from_utf8(eight).expect("digits");
                u8::from_str_radix(text, 2).expect("eight digits")
            })
            .collect()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let coded = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decoded(&coded).as_deref(), Some(&b"www.example.com"[..]));
        let coded = [0x64, 0x02];
        assert_eq!(decoded(&coded).as_deref(), Some(&b"302"[..]));
    }

    #[test]
    fn every_octet_is_read() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&encode(&all)), Some(all.clone()));
        for octet in all {
            for count in 1..20 {
                let text = vec![octet; count];
                assert_eq!(decoded(&encode(&text)), Some(text));
            }
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let cases: [(&str, &[u8]); 5] = [
            ("padding of zeroes", &[0b0001_1000]),
            ("eight bits of padding", &[0b0001_1111, 0xff]),
            ("the end", &[0xff, 0xff, 0xff, 0xfc]),
            ("the end and more", &[0xff, 0xff, 0xff, 0xff, 0xff]),
            ("a code that is cut off", &[0xff, 0xc0]),
        ];
        for (what, coded) in cases {
            assert_eq!(decoded(coded), None, "{what}");
        }
        assert_eq!(decoded(&[0b0001_1111]).as_deref(), Some(&b"a"[..]));
        assert_eq!(decoded(&[]).as_deref(), Some(&b""[..]));
    }
}
