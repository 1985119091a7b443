//! Pictures that a run left, in its reports.

use rigwire::report::{Format, Picture};

use crate::fixture::broken;

/// 48 by 32 dots, in red, green and blue.
const BOARD: &[u8] = include_bytes!("board.png");

#[test]
fn a_picture_is_shown_where_pictures_can_be() {
    let mut report = broken();
    report.pictures.extend(Picture::read("<board>.png", "run/board", BOARD.to_vec()));
    let html = String::from_utf8(report.render(Format::Html)).unwrap();
    let start =
        "<figcaption>&lt;board&gt;.png</figcaption>\n<img width=\"48\" height=\"32\" src=\"data:image/png;base64,iVBOR";
    assert!(html.contains(start) && html.contains("\" alt=\"&lt;board&gt;.png\">"), "{html}");
    let pdf = report.render(Format::Pdf);
    if let Some(directory) = std::env::var_os("REPORT_PAGES") {
        std::fs::write(std::path::Path::new(&directory).join("pictures.pdf"), &pdf).unwrap();
    }
    let text = String::from_utf8_lossy(&pdf);
    for part in ["/Subtype /Image", "/Width 48", "/Predictor 15", "/Colors 3", "/Im0 Do"] {
        assert!(text.contains(part), "no {part}");
    }
    assert!(report.render(Format::Csv) == broken().render(Format::Csv), "a picture is no sample");
}
