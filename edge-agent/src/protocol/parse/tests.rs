//! Replies of every kind, good and broken.

use proptest::prelude::*;

use super::*;

const FLOAT: Scalar = Scalar::Float { decimal: '.' };

fn float() -> Parse {
    Parse::Text { scalar: FLOAT, strip: String::new() }
}

fn last_reading() -> Parse {
    let pattern = Regex::new(r"^(?P<value>[+-][\d.]+E[+-]\d+)(?: (?P<unit>\S+))?$").unwrap();
    Parse::Regex { pattern, scalar: FLOAT }
}

fn function() -> Parse {
    Parse::Enum { words: vec![("VOLT".into(), "dcv".into()), ("RES".into(), "r2w".into())], strip: "\"".into() }
}

fn status() -> Parse {
    let mode = BitField { name: "mode".into(), low: 0, high: 0, words: vec![(0, "cc".into()), (1, "cv".into())] };
    let output = BitField { name: "output".into(), low: 6, high: 6, words: vec![] };
    Parse::Bits { source: BitSource::Bytes, width: 8, fields: vec![mode, output] }
}

fn block(index: Option<usize>) -> Parse {
    Parse::Block { number: NumberType::I16, little: true, index }
}

fn structure() -> Parse {
    let field =
        |name: &str, offset, number| StructField { name: name.into(), offset, number, little: true, scale: 0.5 };
    Parse::Struct { len: 3, fields: vec![field("a", 0, NumberType::U8), field("b", 1, NumberType::I16)] }
}

fn value(parse: &Parse, reply: &[u8]) -> Option<Value> {
    parse.apply(reply).ok().map(|mut parsed| parsed.items.remove(0).value)
}

#[test]
fn replies_parse_or_are_no_value() {
    let csv = Parse::Csv { index: 1, separator: ',', scalar: FLOAT };
    let hex = Parse::Text { scalar: Scalar::Hex, strip: String::new() };
    let int = Parse::Text { scalar: Scalar::Int, strip: String::new() };
    for (parse, reply, expected) in [
        (float(), &b"+1.23450000E+00\r"[..], Some(Value::Float(1.2345))),
        (float(), b"", None),
        (float(), b"+ ~~~~~~~~GN", None),
        (float(), b"\xff5.00", None),
        (int, b" 12 ", Some(Value::Int(12))),
        (hex, b"0x1F", Some(Value::Int(31))),
        (csv.clone(), b"1.0, 2.5,x", Some(Value::Float(2.5))),
        (csv, b"1.0", None),
        (last_reading(), b"+1.5E+00 VDC\r", Some(Value::Float(1.5))),
        (last_reading(), b"+1.5", None),
        (function(), b"\"VOLT\"", Some(Value::Text("dcv".into()))),
        (function(), b"\"FREQ\"", None),
        (status(), b"QQ", None),
        (block(None), b"#14\x01\x00\xff\xff", Some(Value::List(vec![Value::Float(1.0), Value::Float(-1.0)]))),
        (block(Some(1)), b"#14\x01\x00\xff\xff\n", Some(Value::Int(-1))),
        (block(Some(2)), b"#14\x01\x00\xff\xff", None),
        (block(None), b"#15\x01\x00\xff\xff", None),
        (block(None), b"#0", None),
        (structure(), b"\x02\x04\x00", Some(Value::Float(1.0))),
        (structure(), b"\x02\x04", None),
    ] {
        assert_eq!(value(&parse, reply), expected, "{parse:?} {reply:?}");
    }
}

#[test]
fn a_reply_may_hold_fields_and_a_unit() {
    let parsed = status().apply(b"Q").unwrap();
    let fields: Vec<_> = parsed.items.iter().map(|item| (item.field.as_deref().unwrap(), item.value.clone())).collect();
    assert_eq!(fields, [("mode", Value::Text("cv".into())), ("output", Value::Bool(true))]);
    assert_eq!(last_reading().apply(b"+1.5E+00 VDC").unwrap().unit.as_deref(), Some("VDC"));
}

#[test]
fn errors_name_the_reply_and_what_was_expected() {
    let message = |parse: Parse, reply: &[u8]| parse.apply(reply).unwrap_err().to_string();
    assert_eq!(message(float(), b"05.0K"), "reply \"05.0K\" is not a number");
    assert_eq!(message(function(), b"FREQ"), "reply \"FREQ\" is not one of VOLT, RES");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(reply in proptest::collection::vec(any::<u8>(), 0..40)) {
        for parse in [float(), last_reading(), function(), status(), block(None), block(Some(0)), structure()] {
            if let Ok(parsed) = parse.apply(&reply) {
                prop_assert!(!parsed.items.is_empty());
            }
        }
    }

    #[test]
    fn almost_blocks_never_panic(reply in "#[0-9]{1,12}[a-z]{0,20}") {
        let _outcome = block(None).apply(reply.as_bytes());
    }
}
