//! A report as CSV: one row per measured sample, for spreadsheets and scripts. RFC 4180.

use super::{Report, words};
use crate::csv::{quoted, row, value, word};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("time,metric,value,unit,quality,device,step\r\n");
    for series in &report.series {
        for sample in &series.samples {
            let step = sample.step.and_then(|(index, _)| report.steps.get(index)).map(|step| step.id.as_str());
            let cells = [
                words::exact_time(sample.at),
                word(&series.metric),
                value(&sample.value),
                word(series.unit.as_str()),
                word(sample.quality.as_str()),
                word(series.device.as_deref().unwrap_or_default()),
                word(step.unwrap_or_default()),
            ];
            row(&mut text, &cells);
        }
    }
    if report.samples_left_out > 0 {
        // A table has no other place for it, and rows that are missing unsaid would be taken for rows that never were.
        let told = format!("{} more samples are in the record and left out here", report.samples_left_out);
        let mut cells: [String; 7] = Default::default();
        cells[0] = quoted(&told);
        row(&mut text, &cells);
    }
    text
}
