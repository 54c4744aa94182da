//! The record layer of a connection whose handshake is done (RFC 8446 section 5, RFC 5246 section
//! 6.2): bytes to records and back, without I/O. Records are sealed into and opened from memory of
//! the worker, so that neither way allocates.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};
use bytes::BytesMut;
use rustls::{ConnectionTrafficSecrets, ProtocolVersion};

use crate::buffer::Buffer;

/// Bytes of a record's header: type, version, length.
pub(super) const HEADER: usize = 5;
/// Most bytes that one record carries.
pub(super) const MAX_PLAINTEXT: usize = 16 * 1024;
/// Most bytes behind a header (RFC 5246 section 6.2.3; RFC 8446 allows less).
const MAX_CIPHERTEXT: usize = MAX_PLAINTEXT + 2048;
/// Of every algorithm there is.
const TAG: usize = 16;
/// What AES-GCM of TLS 1.2 sends of its nonce.
const EXPLICIT_NONCE: usize = 8;
/// Most that a record adds to what it carries.
pub(super) const OVERHEAD: usize = HEADER + EXPLICIT_NONCE + 1 + TAG;
/// Records after which a key of AES-GCM is to be replaced (RFC 8446 section 5.5).
const RECORDS_A_KEY: u64 = 1 << 24;

/// `ContentType`
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// What protects one direction.
pub(super) struct Protection {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    form: Form,
}

/// How records are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Tls13,
    Tls12Gcm,
    Tls12ChaCha,
}

/// A record that is wrong, or cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordError {
    /// It was changed on its way, or sealed by another key.
    BadMac,
    /// It is larger than a record may be.
    Overflow,
    /// It has no type, or a type that has no place here.
    Unexpected,
    /// Sequence numbers have run out.
    Exhausted,
}

/// The first record of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    header: [u8; HEADER],
    body: &'a [u8],
}

/// Memory that opened bytes are appended to.
pub(crate) trait Sink {
    fn bytes(&self) -> &[u8];

    fn bytes_mut(&mut self) -> &mut [u8];

    /// Cuts it, or fills it up with zeros, to so many bytes.
    fn set_length(&mut self, length: usize);

    /// So many bytes may come now.
    fn expect(&mut self, _bytes: usize) {}

    fn filled(&self) -> usize {
        self.bytes().len()
    }

    /// Appends so many bytes, and lends them.
    fn grow(&mut self, bytes: usize) -> &mut [u8] {
        let before = self.filled();
        self.set_length(before + bytes);
        &mut self.bytes_mut()[before..]
    }

    fn cut_to(&mut self, length: usize) {
        self.set_length(length.min(self.filled()));
    }

    fn tail(&self, from: usize) -> &[u8] {
        &self.bytes()[from..]
    }
}

// === impl Record ===

impl<'a> Record<'a> {
    /// The first record, if it is there as a whole.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Option<Self>, RecordError> {
        let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length > MAX_CIPHERTEXT {
            return Err(RecordError::Overflow);
        }
        let header = *header;
        Ok(rest.get(..length).map(|body| Self { header, body }))
    }

    /// Bytes it takes.
    pub(super) fn len(&self) -> usize {
        HEADER + self.body.len()
    }
}

// === impl Protection ===

impl Protection {
    /// From what a handshake has agreed on.
    pub(super) fn new(
        version: ProtocolVersion,
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Option<Self> {
        use ConnectionTrafficSecrets::{Aes128Gcm, Aes256Gcm, Chacha20Poly1305};

        let make = |algorithm: &'static Algorithm, key: &[u8], iv: &[u8], form| {
            let key = UnboundKey::new(algorithm, key).ok()?;
            Some(Self {
                key: LessSafeKey::new(key),
                iv: iv.try_into().ok()?,
                sequence,
                form,
            })
        };
        let is_tls13 = version == ProtocolVersion::TLSv1_3;
        let gcm = if is_tls13 {
            Form::Tls13
        } else {
            Form::Tls12Gcm
        };
        match secrets {
            Aes128Gcm { key, iv } => make(&AES_128_GCM, key.as_ref(), iv.as_ref(), gcm),
            Aes256Gcm { key, iv } => make(&AES_256_GCM, key.as_ref(), iv.as_ref(), gcm),
            Chacha20Poly1305 { key, iv } => {
                let form = if is_tls13 {
                    Form::Tls13
                } else {
                    Form::Tls12ChaCha
                };
                make(&CHACHA20_POLY1305, key.as_ref(), iv.as_ref(), form)
            }
            _ => None,
        }
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.form == Form::Tls13
    }

    /// Whether the key is to be replaced. TLS 1.2 has no way to.
    pub(super) fn is_worn(&self) -> bool {
        self.is_tls13() && self.sequence >= RECORDS_A_KEY
    }

    /// Seals one record of `kind`, of at most [`MAX_PLAINTEXT`] bytes, into the front of `out`.
    /// Returns its length.
    pub(super) fn seal(
        &mut self,
        kind: u8,
        plain: &[u8],
        out: &mut [u8],
    ) -> Result<usize, RecordError> {
        let (explicit, inner) = match self.form {
            Form::Tls13 => (0, 1),
            Form::Tls12Gcm => (EXPLICIT_NONCE, 0),
            Form::Tls12ChaCha => (0, 0),
        };
        let length = explicit + plain.len() + inner + TAG;
        let total = HEADER + length;
        if plain.len() > MAX_PLAINTEXT || out.len() < total {
            return Err(RecordError::Overflow);
        }
        let nonce = self.nonce();
        let outer = if inner == 1 { APPLICATION_DATA } else { kind };
        let [high, low] = be16(length);
        let header = [outer, 3, 3, high, low];
        let (aad, aad_length) = self.aad(header, plain.len());
        out[..HEADER].copy_from_slice(&header);
        let body = &mut out[HEADER..total];
        body[..explicit].copy_from_slice(&nonce[nonce.len() - explicit..]);
        let (sealed, rest) = body[explicit..].split_at_mut(plain.len());
        let sealing = self.key.seal_out_of_place_scatter(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&aad[..aad_length]),
            plain,
            sealed,
            &[kind][..inner],
            rest,
        );
        sealing.map_err(|_| RecordError::Exhausted)?;
        self.advance()?;
        Ok(total)
    }

    /// Opens a record, appends what it carries to `out`, and returns its type.
    pub(super) fn open(
        &mut self,
        record: &Record<'_>,
        out: &mut impl Sink,
    ) -> Result<u8, RecordError> {
        let mut nonce = self.nonce();
        let mut body = record.body;
        if self.is_tls13() && record.header[0] != APPLICATION_DATA {
            return Err(RecordError::Unexpected);
        }
        if self.form == Form::Tls12Gcm {
            let (explicit, rest) = body
                .split_at_checked(EXPLICIT_NONCE)
                .ok_or(RecordError::BadMac)?;
            nonce[12 - EXPLICIT_NONCE..].copy_from_slice(explicit);
            body = rest;
        }
        let length = body.len().checked_sub(TAG).ok_or(RecordError::BadMac)?;
        if length > MAX_PLAINTEXT + usize::from(self.is_tls13()) {
            return Err(RecordError::Overflow);
        }
        let (ciphertext, tag) = body.split_at(length);
        let (aad, aad_length) = self.aad(record.header, length);
        let before = out.filled();
        let opening = self.key.open_separate_gather(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(&aad[..aad_length]),
            ciphertext,
            tag,
            out.grow(length),
        );
        if opening.is_err() {
            out.cut_to(before);
            return Err(RecordError::BadMac);
        }
        self.advance()?;
        if !self.is_tls13() {
            return Ok(record.header[0]);
        }
        // Behind the type there may be zeros.
        let inner = out.tail(before);
        let Some(end) = inner.iter().rposition(|byte| *byte != 0) else {
            out.cut_to(before);
            return Err(RecordError::Unexpected);
        };
        let kind = inner[end];
        out.cut_to(before + end);
        Ok(kind)
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        nonce[4..]
            .iter_mut()
            .zip(sequence)
            .for_each(|(byte, other)| *byte ^= other);
        nonce
    }

    /// What is authenticated beside a record of so many bytes.
    fn aad(&self, header: [u8; HEADER], plaintext: usize) -> ([u8; 13], usize) {
        let mut aad = [0; 13];
        if self.is_tls13() {
            aad[..HEADER].copy_from_slice(&header);
            return (aad, HEADER);
        }
        aad[..8].copy_from_slice(&self.sequence.to_be_bytes());
        aad[8..11].copy_from_slice(&header[..3]);
        aad[11..].copy_from_slice(&be16(plaintext));
        (aad, 13)
    }

    fn advance(&mut self) -> Result<(), RecordError> {
        self.sequence = self.sequence.checked_add(1).ok_or(RecordError::Exhausted)?;
        Ok(())
    }
}

/// Two bytes of what is no longer than a record.
fn be16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

// === impl RecordError ===

impl RecordError {
    /// The `AlertDescription` for it.
    pub(super) fn alert(self) -> u8 {
        match self {
            Self::BadMac => 20,
            Self::Overflow => 22,
            Self::Unexpected => 10,
            Self::Exhausted => 80,
        }
    }
}

// === impl Sink ===

impl Sink for Buffer {
    fn bytes(&self) -> &[u8] {
        self.filled()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.filled_mut()
    }

    fn set_length(&mut self, length: usize) {
        self.resize(length);
    }

    fn expect(&mut self, bytes: usize) {
        self.make_room(bytes);
    }
}

impl Sink for BytesMut {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self
    }

    fn set_length(&mut self, length: usize) {
        self.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;

    /// Both directions of one key.
    fn pair(version: ProtocolVersion, chacha: bool) -> (Protection, Protection) {
        let make = || {
            let (key, iv) = (AeadKey::from([7; 32]), Iv::from([3; 12]));
            let secrets = match chacha {
                true => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
                false => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
            };
            Protection::new(version, (0, secrets)).expect("known")
        };
        (make(), make())
    }

    fn all() -> Vec<(Protection, Protection)> {
        let versions = [ProtocolVersion::TLSv1_2, ProtocolVersion::TLSv1_3];
        let pairs = versions.map(|version| [false, true].map(|chacha| pair(version, chacha)));
        pairs.into_iter().flatten().collect()
    }

    #[test]
    fn what_is_sealed_opens_to_the_same_and_only_once() {
        for (mut sealing, mut opening) in all() {
            for plain in [&b""[..], b"abc", &[9; MAX_PLAINTEXT]] {
                let mut wire = vec![0; plain.len() + OVERHEAD];
                let length = sealing
                    .seal(APPLICATION_DATA, plain, &mut wire)
                    .expect("sealed");
                assert_eq!(Record::first(&wire[..length - 1]), Ok(None));
                let record = Record::first(&wire).expect("sound").expect("whole");
                assert_eq!(record.len(), length);
                let mut out = Buffer::from(&b"before"[..]);
                assert_eq!(opening.open(&record, &mut out), Ok(APPLICATION_DATA));
                assert_eq!(out.filled(), [&b"before"[..], plain].concat());
                assert_eq!(opening.open(&record, &mut out), Err(RecordError::BadMac));
                assert_eq!(out.len(), 6 + plain.len(), "nothing is left of it");
            }
        }
    }

    #[test]
    fn what_was_changed_on_its_way_is_refused() {
        for (mut sealing, mut opening) in all() {
            let mut wire = [0; 3 + OVERHEAD];
            let length = sealing.seal(ALERT, b"abc", &mut wire).expect("sealed");
            for place in 0..length {
                let mut changed = wire[..length].to_vec();
                changed[place] ^= 1;
                let Ok(Some(record)) = Record::first(&changed) else {
                    continue;
                };
                // In TLS 1.3 the version of a record is authenticated, too.
                assert!(
                    opening.open(&record, &mut BytesMut::new()).is_err(),
                    "{place}"
                );
            }
            let record = Record::first(&wire).expect("sound").expect("whole");
            assert_eq!(opening.open(&record, &mut BytesMut::new()), Ok(ALERT));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8..=255, 0..80)) {
            for (_, mut opening) in all() {
                if let Ok(Some(record)) = Record::first(&bytes) {
                    let _ = opening.open(&record, &mut BytesMut::new());
                }
            }
        }
    }
}
