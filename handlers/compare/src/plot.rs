//! A measure over time as inline SVG.

use std::fmt::Write;

/// Columns of the plot: what shares one is shown by its worst frame.
const COLUMNS: usize = 480;
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 150.0;
/// Room for numbers left of the plot, and below it.
const LEFT: f64 = 52.0;
const BELOW: f64 = 22.0;
const ABOVE: f64 = 10.0;

/// A plot of values at times, with marks at some of them; empty where there is nothing to draw. Infinite values stand at
/// its upper edge.
pub fn svg(label: &str, points: &[(f64, f32)], marks: &[f64]) -> String {
    let finite = || points.iter().map(|(_, value)| f64::from(*value)).filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min).floor(), finite().fold(f64::MIN, f64::max).ceil());
    if points.len() < 2 || low > high {
        return String::new();
    }
    let high = high.max(low + 1.0);
    let (start, end) = (points[0].0, points[points.len() - 1].0);
    let x = |secs: f64| LEFT + (WIDTH - LEFT - 8.0) * (secs - start) / (end - start).max(1e-9);
    let bottom = HEIGHT - BELOW;
    let y = |value: f64| bottom - (bottom - ABOVE) * (value.min(high) - low) / (high - low);
    let worst = worst_of_columns(points);
    let line: Vec<String> =
        worst.iter().map(|(secs, value)| format!("{:.1},{:.1}", x(*secs), y(f64::from(*value)))).collect();
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label} over time\">\
         <line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{WIDTH}\" y2=\"{bottom}\"/>"
    );
    for value in [low, high] {
        let at = y(value);
        let text = at + 4.0;
        write!(svg, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{WIDTH}\" y2=\"{at:.1}\"/>").ok();
        write!(svg, "<text x=\"{:.0}\" y=\"{text:.1}\" text-anchor=\"end\">{value}</text>", LEFT - 6.0).ok();
    }
    for (secs, anchor) in [(start, "start"), (end, "end")] {
        let (at, text) = (x(secs), HEIGHT - 6.0);
        write!(svg, "<text x=\"{at:.1}\" y=\"{text:.0}\" text-anchor=\"{anchor}\">{secs:.2} s</text>").ok();
    }
    write!(svg, "<polyline points=\"{}\"/>", line.join(" ")).ok();
    for mark in marks {
        if let Some((secs, value)) = points.iter().find(|(secs, _)| secs == mark) {
            let (x, y) = (x(*secs), y(f64::from(*value)));
            write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>").ok();
        }
    }
    svg + "</svg>"
}

fn worst_of_columns(points: &[(f64, f32)]) -> Vec<(f64, f32)> {
    let worst = |chunk: &[(f64, f32)]| chunk.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    points.chunks(points.len().div_ceil(COLUMNS)).filter_map(worst).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dip_in_a_long_video_is_still_seen() {
        let mut points: Vec<(f64, f32)> = (0..100_000_u32).map(|frame| (f64::from(frame) / 25.0, 40.0)).collect();
        points[54_321].1 = 20.0;
        points[3].1 = f32::INFINITY;
        let svg = svg("PSNR", &points, &[points[54_321].0]);
        assert!(svg.len() < 20_000 && svg.contains(">20</text>") && svg.contains("<circle"), "{}", svg.len());
        let low = format!(",{:.1}", HEIGHT - BELOW);
        assert_eq!(svg.matches(&low).count(), 1, "one column goes down");
        assert!(super::svg("PSNR", &[(0.0, f32::INFINITY), (1.0, f32::INFINITY)], &[]).is_empty());
        assert!(super::svg("PSNR", &points[..1], &[]).is_empty(), "a picture has no time");
    }
}
