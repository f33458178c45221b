'use strict';
// Opened as a file, the browser refuses the scripts of the page.
if (location.protocol === 'file:') document.getElementById('state').textContent = document.body.dataset.file;
