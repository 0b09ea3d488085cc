//! `compare.html`: one page without anything from outside. Pictures are in it as `data:` URIs.

use std::fmt::Write;

use darkroom_api::Result;
use darkroom_media::compare::{Comparison, FrameScores, Planes, Side};
use data_encoding::BASE64;

use crate::picture::{Rgb8, busiest};
use crate::plot;

const TEMPLATE: &str = include_str!("page.html");
/// Largest picture on the page; of larger frames the part in which they differ most.
const MOST_PX: usize = 1920 * 1088;

/// A pair of frames on the page, as HTML.
pub struct Figure {
    html: String,
    secs: f64,
}

impl Figure {
    /// Of two pictures of one size.
    ///
    /// # Errors
    /// Those of encoding a picture.
    pub fn new(title: &str, scores: &FrameScores, video: &Rgb8, reference: &Rgb8) -> Result<Figure> {
        let window = busiest(video, reference, largest(video.width, video.height));
        let (width, height) = (window.width, window.height);
        let part = match (width, height) == (video.width, video.height) {
            true => String::new(),
            false => format!(" (the {width}x{height} pixels from {}, {} on)", window.x, window.y),
        };
        let image = |picture: &Rgb8, name: &str| -> Result<String> {
            let data = BASE64.encode(&picture.crop(window).png()?);
            Ok(format!(
                "<img alt=\"{name}\" width=\"{width}\" height=\"{height}\" src=\"data:image/png;base64,{data}\">"
            ))
        };
        let html = format!(
            "<figure><p><strong>{}</strong>{part}</p><div class=\"stage\" style=\"--cut: 50%; --width: {width}px\">{}{}<i></i>\
             <b>video</b><b>reference</b><input type=\"range\" min=\"0\" max=\"100\" step=\"0.1\" value=\"50\" \
             aria-label=\"How much of the video is shown\" \
             oninput=\"this.parentNode.style.setProperty('--cut', this.value + '%')\"></div></figure>\n",
            escaped(&headline(title, scores)),
            image(reference, "reference")?,
            image(video, "video")?,
        );
        Ok(Figure { html, secs: scores.secs })
    }
}

/// Sides of a part that is not too large: one of the frame's own shape.
fn largest(width: usize, height: usize) -> (usize, usize) {
    let mut part = (width, height);
    while part.0 * part.1 > MOST_PX {
        part = (part.0 * 15 / 16, part.1 * 15 / 16);
    }
    part
}

/// One line about a frame.
pub fn headline(title: &str, scores: &FrameScores) -> String {
    let vmaf = scores.vmaf.map(|vmaf| format!(", VMAF {vmaf:.1}")).unwrap_or_default();
    format!(
        "{title} {} ({:.2} s): PSNR {} dB, SSIM {:.4}{vmaf}",
        scores.frame,
        scores.secs,
        db(scores.psnr.y),
        scores.ssim.y
    )
}

/// The page.
pub fn html(names: [&str; 2], comparison: &Comparison, warnings: &[String], figures: &[Figure]) -> String {
    let title = escaped(&format!("{} compared with {}", names[0], names[1]));
    let marks: Vec<f64> = figures.iter().map(|figure| figure.secs).collect();
    let frames: String = figures.iter().map(|figure| figure.html.as_str()).collect();
    let parts = [
        ("title", title),
        ("summary", summary(comparison)),
        ("warnings", list(warnings)),
        ("numbers", numbers(comparison)),
        ("plots", plots(comparison, &marks)),
        ("files", files(names, comparison)),
        // Last: nothing in it is looked at again.
        ("frames", frames),
    ];
    parts.into_iter().fold(TEMPLATE.to_owned(), |page, (name, part)| page.replace(&format!("{{{{{name}}}}}"), &part))
}

fn summary(comparison: &Comparison) -> String {
    let frames = match comparison.compared {
        1 => "One frame was compared".to_owned(),
        many => format!("{many} frames were compared"),
    };
    let equal = if comparison.identical { ": no sample differs." } else { "." };
    format!("{frames} as {}{equal}", escaped(&comparison.pixel_format))
}

fn list(warnings: &[String]) -> String {
    if warnings.is_empty() {
        return String::new();
    }
    let items: String = warnings.iter().map(|warning| format!("<li>{}</li>", escaped(warning))).collect();
    format!("<ul>{items}</ul>")
}

fn numbers(comparison: &Comparison) -> String {
    let mut table = String::from("<table><tr><th></th><th>luma</th><th>Cb</th><th>Cr</th><th>all</th></tr>");
    let mut row = |name: &str, planes: Planes, number: fn(f32) -> String| {
        let cells: String =
            [planes.y, planes.u, planes.v, planes.all].map(|value| format!("<td>{}</td>", number(value))).concat();
        write!(table, "<tr><th>{name}</th>{cells}</tr>").ok();
    };
    row("PSNR, dB", comparison.psnr.mean, db);
    row("PSNR, worst frame", comparison.psnr.min, db);
    row("SSIM", comparison.ssim.mean, |value| format!("{value:.4}"));
    row("SSIM, worst frame", comparison.ssim.min, |value| format!("{value:.4}"));
    if let Some(vmaf) = &comparison.vmaf {
        for (name, value) in [("", vmaf.mean), (", worst frame", vmaf.min), (", harmonic mean", vmaf.harmonic_mean)] {
            write!(table, "<tr><th>VMAF{name}</th><td>{value:.2}</td><td></td><td></td><td></td></tr>").ok();
        }
    }
    table + "</table>"
}

fn plots(comparison: &Comparison, marks: &[f64]) -> String {
    let points = |value: fn(&FrameScores) -> Option<f32>| -> Vec<(f64, f32)> {
        comparison.frames.iter().filter_map(|frame| Some((frame.secs, value(frame)?))).collect()
    };
    let psnr = plot::svg("PSNR", &points(|frame| Some(frame.psnr.y)), marks);
    let vmaf = plot::svg("VMAF", &points(|frame| frame.vmaf), marks);
    let titled = |title: &str, svg: String| if svg.is_empty() { svg } else { format!("<p>{title}</p>{svg}\n") };
    let plots = titled("PSNR of luma, dB", psnr) + &titled("VMAF", vmaf);
    if plots.is_empty() { plots } else { format!("<h2>Over time</h2>\n{plots}") }
}

fn files(names: [&str; 2], comparison: &Comparison) -> String {
    let row = |role: &str, name: &str, side: &Side| {
        let frames = side.frames.map(|frames| frames.to_string()).unwrap_or_default();
        let (colour, format) = (&side.colour, escaped(&side.pixel_format));
        let colour = format!("{} / {} / {} / {}", colour.matrix, colour.primaries, colour.transfer, colour.range);
        format!(
            "<tr><th>{role}</th><td class=\"text\">{}</td><td>{}x{}</td><td>{:.2}</td><td>{frames}</td><td>{format}</td>\
             <td>{}</td></tr>",
            escaped(name),
            side.width_px,
            side.height_px,
            side.fps,
            escaped(&colour)
        )
    };
    format!(
        "<table><tr><th></th><th>file</th><th>pixels</th><th>fps</th><th>frames</th><th>format</th>\
         <th>matrix / primaries / transfer / range</th></tr>{}{}</table>",
        row("video", names[0], &comparison.video),
        row("reference", names[1], &comparison.reference)
    )
}

/// Decibels for people.
pub fn db(value: f32) -> String {
    if value.is_infinite() { "infinite".into() } else { format!("{value:.2}") }
}

/// Text as HTML; braces too, so that no file's name is taken for a place of the template.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' | '>' | '&' | '"' | '\'' | '{' | '}' => {
                write!(html, "&#{};", u32::from(letter)).ok();
            }
            letter if letter.is_control() => html.push('\u{fffd}'),
            letter => html.push(letter),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_text_and_nothing_else() {
        assert_eq!(escaped("a<b>&\"'{{c}}\n"), "a&#60;b&#62;&#38;&#34;&#39;&#123;&#123;c&#125;&#125;\u{fffd}");
    }

    #[test]
    fn large_frames_are_shown_in_part() {
        assert_eq!(largest(1080, 1920), (1080, 1920));
        let (width, height) = largest(7680, 4320);
        assert!(width * height <= MOST_PX && width * height > MOST_PX * 3 / 4, "{width}x{height}");
    }
}
