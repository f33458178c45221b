// The camera's picture: a viewfinder where the browser gives one, else the phone's own camera.

const dialog = document.getElementById('viewfinder');
const video = dialog.querySelector('video');
const said = dialog.querySelector('[role=alert]');

let facing = 'environment';

function stop() {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  dialog.classList.remove('live');
}

async function start() {
  stop();
  said.hidden = true;
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing, width: { ideal: 1920 } } });
    if (!dialog.open) return stop(); // closed while the user was asked
    await video.play();
    dialog.classList.add('live');
  } catch (error) {
    said.textContent = error.name === 'NotAllowedError' ? 'The browser may not use the camera.' : 'No camera answers.';
    said.hidden = false;
  }
}

function taken() {
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext('2d').drawImage(video, 0, 0);
  return new Promise((done) => canvas.toBlob(done));
}

// Calls `show` with each picture that is taken.
export function watchCamera(button, capture, show) {
  button.addEventListener('click', () => {
    if (!navigator.mediaDevices?.getUserMedia) return capture.click(); // pages without https
    dialog.showModal();
    start();
  });
  dialog.addEventListener('click', async ({ target }) => {
    if (target.value === 'close') dialog.close();
    if (target.value === 'turn') {
      facing = facing === 'user' ? 'environment' : 'user';
      start();
    }
    if (target.value === 'take' && video.videoWidth) {
      const picture = await taken();
      dialog.close();
      show(new File([picture], 'camera picture', { type: picture.type }));
    }
  });
  dialog.addEventListener('close', stop);
}
