/** What the sign-in page says. */

export const words = {
  title: "Sign in",
  name: "Frontdesk",
  email: "E-mail address",
  password: "Password",
  submit: "Sign in",
  again: "Your session has ended",
  againText: "Sign in to go on where you were. Nothing that you typed is lost.",
  locked: (left: string) => `Too many attempts. You can try again in ${left}.`,
  forgotten: "Forgotten? An owner can give you a new password or a login link.",
  linkTitle: "Sign in with this link",
  linkText: "It works once, and then no more.",
  linkSubmit: "Sign in",
  linkGone: "This link does not work any more",
  linkGoneText: "A link signs in once, within 15 minutes. Ask for another one, or sign in with your password.",
  linkEmpty: "There is no secret in this address: the link was not copied whole.",
  toPassword: "Sign in with a password",
  unknown: "The console cannot tell whether you are signed in",
  asking: "Opening the console",
};
