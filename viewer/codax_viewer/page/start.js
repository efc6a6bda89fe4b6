// Says what to do where the page's modules cannot even begin. Old browsers read this.

(function () {
  var words = "";
  if (location.protocol === "file:") {
    words =
      "browsers run no modules of file: addresses; serve the folder, for example with " +
      "`python -m http.server`, or take `codax viewer --serve`";
  } else if (!("noModule" in document.createElement("script"))) {
    words =
      "this browser runs no modules of JavaScript; take one of 2023 or newer, or " +
      "`codax decode`";
  }
  if (!words) return;
  var notice = document.createElement("p");
  notice.className = "notice";
  notice.setAttribute("role", "alert");
  notice.textContent = words;
  document.body.appendChild(notice);
})();
