//! Binary numbers: their types, their byte orders, and the data part of Modbus read replies. Knows no port and no master.

use rigwire_shared::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl NumberType {
    pub const NAMES: &str = "u8, i8, u16, i16, u32, i32, u64, i64, f32 or f64";

    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "u8" => Self::U8,
            "i8" => Self::I8,
            "u16" => Self::U16,
            "i16" => Self::I16,
            "u32" => Self::U32,
            "i32" => Self::I32,
            "u64" => Self::U64,
            "i64" => Self::I64,
            "f32" => Self::F32,
            "f64" => Self::F64,
            _ => return None,
        })
    }

    pub const fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }

    /// Reads big-endian bytes; `None` unless there are exactly as many as the type has.
    pub fn read(self, bytes: &[u8]) -> Option<Raw> {
        if bytes.len() != self.size() {
            return None;
        }
        let bits = bytes.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        let shift = 64 - 8 * self.size();
        #[expect(clippy::cast_possible_wrap, reason = "moves the sign bit to the top and back")]
        let signed = (bits << shift) as i64 >> shift;
        #[expect(clippy::cast_possible_truncation, reason = "four bytes were read")]
        let narrow = bits as u32;
        let value = match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 =>
            {
                #[expect(clippy::cast_precision_loss, reason = "a number beyond i64 has no exact form here")]
                i64::try_from(bits).map_or(Value::Float(bits as f64), Value::Int)
            }
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => Value::Int(signed),
            Self::F32 => Value::Float(f64::from(f32::from_bits(narrow))),
            Self::F64 => Value::Float(f64::from_bits(bits)),
        };
        Some(Raw { bits, width: 8 * self.size(), value })
    }
}

/// A number with the bits it was made from, so that sentinels can be told at their own width.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    pub bits: u64,
    pub width: usize,
    pub value: Value,
}

/// How the bytes of a number follow each other; A is the most significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WordOrder {
    #[default]
    Abcd,
    Cdab,
    Badc,
    Dcba,
}

impl WordOrder {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "ABCD" => Self::Abcd,
            "CDAB" => Self::Cdab,
            "BADC" => Self::Badc,
            "DCBA" => Self::Dcba,
            _ => return None,
        })
    }

    pub fn to_big_endian(self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if matches!(self, Self::Badc | Self::Dcba) {
            bytes.chunks_exact_mut(2).for_each(|word| word.swap(0, 1));
        }
        if matches!(self, Self::Cdab | Self::Dcba) {
            let words: Vec<[u8; 2]> = bytes.chunks_exact(2).rev().map(|word| [word[0], word[1]]).collect();
            bytes = words.concat();
        }
        bytes
    }
}

/// The register bytes of a Modbus read reply without its CRC, checked against what was asked.
pub fn modbus_read_reply(reply: &[u8], unit: u8, function: u8, bytes: usize) -> Result<&[u8], String> {
    let (head, data) =
        reply.split_at_checked(3).ok_or_else(|| format!("a reply of {} bytes, expected {}", reply.len(), bytes + 3))?;
    if head[0] != unit {
        return Err(format!("a reply of unit {}, expected unit {unit}", head[0]));
    }
    if head[1] == function | 0x80 {
        return Err(format!("exception {} to function {function}", head[2]));
    }
    if head[1] != function {
        return Err(format!("a reply to function {}, expected function {function}", head[1]));
    }
    if usize::from(head[2]) != bytes || data.len() != bytes {
        return Err(format!("{} bytes announced and {} present, expected {bytes}", head[2], data.len()));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ordered() {
        for (order, bytes) in [
            (WordOrder::Abcd, [1, 2, 3, 4]),
            (WordOrder::Cdab, [3, 4, 1, 2]),
            (WordOrder::Badc, [2, 1, 4, 3]),
            (WordOrder::Dcba, [4, 3, 2, 1]),
        ] {
            assert_eq!(order.to_big_endian(&bytes), [1, 2, 3, 4], "{order:?}");
        }
    }

    #[test]
    fn numbers_are_read() {
        for (kind, bytes, expected) in [
            (NumberType::U16, &[0x24, 0x80][..], Value::Int(0x2480)),
            (NumberType::I16, &[0xFF, 0xFE], Value::Int(-2)),
            (NumberType::I8, &[0x80], Value::Int(-128)),
            (NumberType::I64, &[0xFF; 8], Value::Int(-1)),
            (NumberType::F64, &[0x3F, 0xF0, 0, 0, 0, 0, 0, 0], Value::Float(1.0)),
        ] {
            assert_eq!(kind.read(bytes).map(|raw| raw.value), Some(expected), "{kind:?}");
        }
        let manual = NumberType::F32.read(&[0x3F, 0x80, 0x20, 0xC5]).and_then(|raw| raw.value.as_f64()).unwrap();
        assert!((manual - 1.001).abs() < 1e-6);
        assert_eq!(NumberType::U16.read(&[1]), None);
    }

    #[test]
    fn modbus_replies_are_checked() {
        assert_eq!(modbus_read_reply(&[1, 3, 2, 0, 0x30], 1, 3, 2), Ok(&[0, 0x30][..]));
        for (reply, message) in [
            (&[1, 3][..], "a reply of 2 bytes, expected 5"),
            (&[2, 3, 2, 0, 0], "a reply of unit 2, expected unit 1"),
            (&[1, 0x83, 2], "exception 2 to function 3"),
            (&[1, 4, 2, 0, 0], "a reply to function 4, expected function 3"),
            (&[1, 3, 4, 0, 0], "4 bytes announced and 2 present, expected 2"),
        ] {
            assert_eq!(modbus_read_reply(reply, 1, 3, 2), Err(message.to_owned()));
        }
    }
}
