'use strict';
// The figures' own HTML, made by plotly, calls Plotly.newPlot at once; here it only says what there is to draw, so that
// the text stands before plotly.js is read. page.js draws a figure when it comes near the screen.
const figures = new Map();
window.Plotly = { newPlot: (name, data, layout) => figures.set(name, { data, layout }) };
